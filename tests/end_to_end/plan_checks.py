"""What must be true of the plans that were in force, seen from outside: that they hold, and that they were carried out.

Plans are polled. The scheduler counts what it put in force, so that it is known how many were missed; only a missed
plan excuses what no plan seen explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit import Load
from plan_record import PlanRecord, in_force

from maestro.fleet import Fleet
from maestro.plan import Assignment, Plan, PlanSource, Residency
from maestro.status import StageStatus

SAME_INSTANT_S = 1e-3


@dataclass(frozen=True)
class RunStage:
    """A stage that an engine ran, and the models it would have run as."""

    workflow: str
    status: StageStatus
    models: Sequence[str]


def check_that_plans_hold(lives: list[PlanRecord], fleet: Fleet) -> None:
    """Every plan seen fits the memory and names its source, which the scheduler has counted; CP-SAT made some.

    The scheduler puts a plan in force only if the checker finds nothing against it; this looks again, from outside.
    """
    plans = [plan for life in lives for plan in life.plans.values()]
    assert any(plan.provenance.source is PlanSource.CP_SAT for plan in plans)
    for life in lives:
        assert all(life.counted.get(source, 0) >= seen for source, seen in life.sources().items())
        assert life.missed >= 0
    for plan in plans:
        assert overfull(plan, fleet) == []
        assert [stage for stage in plan.assignments if not _is_served(plan, stage)] == []


def overfull(plan: Plan, fleet: Fleet) -> list[str]:
    """The accelerators on which replicas would take more than the memory at some instant of the plan."""
    found = []
    for accelerator in (a for cluster in fleet.clusters for node in cluster.nodes for a in node.accelerators):
        residencies = [r for r in plan.residencies if r.accelerator == accelerator.name]
        for at_s in (r.load_start_s for r in residencies):
            held = [r for r in residencies if r.load_start_s <= at_s < _end_s(r)]
            taken = sum(fleet.models[r.model].fixed_bytes + r.kv_pool_bytes for r in held)
            if taken > accelerator.memory_bytes:
                found.append(accelerator.name)
    return found


def check_that_loads_were_planned(lives: list[PlanRecord], loads: Sequence[Load], stages: Sequence[RunStage]) -> None:
    """Every load that happened was in a plan in force as it began, or gave its turn to a model that no plan had loaded.

    The latter is there for models that do not fit the fleet all at once: a stage waited for one.
    """
    missed = sum(life.missed for life in lives)
    unplanned = [load for load in loads if not _was_planned(in_force(lives, load.after_s, load.seen_s), load)]
    unexplained = [load for load in unplanned if not _was_waited_for(load, stages)]
    assert not unexplained or missed, unexplained
    assert len(unplanned) < len(loads)


def check_that_stages_ran_where_plans_wanted(
    lives: list[PlanRecord], loads: Sequence[Load], stages: Sequence[RunStage]
) -> None:
    """Every stage ran on a replica that was loaded, at the place that the plan in force gave it, where it gave one."""
    lives_of_replicas = {(load.accelerator, load.model, load.generation): load for load in loads}
    elsewhere = []
    for stage in stages:
        status = stage.status
        started_s = status.started_at_s or 0.0
        load = lives_of_replicas[status.accelerator, status.model, status.replica_generation]
        assert load.after_s <= started_s
        places = [
            (planned.accelerator, planned.model)
            for plan in in_force(lives, started_s, started_s)
            for planned in plan.assignments
            if planned.stage == (stage.workflow, status.id)
        ]
        if places and (status.accelerator, status.model) not in places:
            elsewhere.append((stage, places))
    assert not elsewhere or sum(life.missed for life in lives), elsewhere


def _was_planned(plans: Sequence[Plan], load: Load) -> bool:
    return any(
        (residency.accelerator, residency.model) == (load.accelerator, load.model) and not residency.initial
        for plan in plans
        for residency in plan.residencies
    )


def _was_waited_for(load: Load, stages: Sequence[RunStage]) -> bool:
    return any(
        load.model in stage.models
        and (stage.status.ready_at_s or 0.0) <= load.seen_s
        and (stage.status.started_at_s or 0.0) >= load.after_s
        for stage in stages
    )


def _is_served(plan: Plan, stage: Assignment) -> bool:
    """Whether the model is there for the stage from its start to its end."""
    return any(
        residency.accelerator == stage.accelerator
        and residency.model == stage.model
        and residency.ready_s <= stage.start_s + SAME_INSTANT_S
        and _end_s(residency) >= stage.end_s - SAME_INSTANT_S
        for residency in plan.residencies
    )


def _end_s(residency: Residency) -> float:
    return residency.end_s if residency.end_s is not None else float("inf")
