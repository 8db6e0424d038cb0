"""Brings decisions to a later snapshot: what has started or ended is dropped; order, places and residency are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from maestro.plan import Plan, Provenance
from maestro.reasons import Reason
from maestro.snapshot import PlanInForce, Snapshot, StageKey
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.planner.carrying import Carrying
from maestro_solver.planner.in_force import in_force_of
from maestro_solver.schedule import Schedule, assignments, deferrals, residencies


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is to be done in order, for how long ahead, why other stages have no place, and where it comes from."""

    ordered: PlanInForce
    horizon_s: float
    provenance: Provenance
    deferred: Mapping[StageKey, Reason] = field(default_factory=dict)


def rebase(plan: Plan, snapshot: Snapshot, *, tick_s: float) -> Plan:
    """The plan's decisions, applied in their planned order to ``snapshot``, with starts computed anew.

    Stages that the snapshot no longer has waiting are left out. Stages that the plan did not know, or whose place is
    gone, are deferred, for the caller to place one by one. The provenance is the plan's own; the caller checks the
    result against ``snapshot`` before it is used.
    """
    reasons = {deferral.stage: deferral.reason for deferral in plan.deferred}
    ordered = in_force_of(plan, snapshot.members)
    return carried_over(Decisions(ordered, plan.horizon_s, plan.provenance, reasons), snapshot, tick_s)


def carried_over(decisions: Decisions, snapshot: Snapshot, tick_s: float) -> Plan:
    """The decisions as a plan for ``snapshot``.

    What the plan in force there is committed to comes first, whatever the decisions say of it.
    """
    instance = discretize(snapshot, Grid.suited(snapshot, tick_s), decisions.horizon_s)
    carrying = Carrying(instance)
    carrying.carry_out(_committed(snapshot))
    carrying.carry_out(decisions.ordered)
    unplaced = {
        position: stage.obstacle or decisions.deferred.get(stage.key, Reason.WAITING_FOR_PLAN)
        for position, stage in enumerate(instance.stages)
        if position not in carrying.spans
    }
    whole = Schedule(carrying.options, carrying.spans, carrying.state.residents(), unplaced)
    schedule = whole.within(instance.horizon)
    return Plan(
        taken_at_s=snapshot.taken_at_s,
        horizon_s=decisions.horizon_s,
        assignments=tuple(assignments(instance, schedule)),
        residencies=tuple(residencies(instance, schedule)),
        deferred=tuple(deferrals(instance, schedule)),
        provenance=decisions.provenance,
    )


def _committed(snapshot: Snapshot) -> PlanInForce:
    """What no plan is to move any more."""
    decided = snapshot.in_force
    return PlanInForce(
        tuple(found for found in decided.starts if found.committed),
        tuple(found for found in decided.loads if found.committed),
    )
