"""The plan checker: every plan passes it before it is used.

It reads plans in seconds and bytes and shares no code with the heuristics or the model, so that a mistake in how
they round or count shows here. A tool stage is implicit in a plan: it starts when its predecessors have ended, and
is listed only where it is deferred.
"""

from __future__ import annotations

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_solver.checks import capacities, groups, order, residencies, stages
from maestro_solver.checks.case import Case, Constraint, Violation

__all__ = ["Constraint", "Violation", "check"]

_CHECKS = (
    stages.each_stage_once,
    stages.options,
    stages.horizon,
    stages.inside_residency,
    order.precedence,
    order.earliest_starts,
    residencies.initial_residencies,
    residencies.loads,
    residencies.links,
    residencies.one_replica,
    residencies.endings,
    groups.groups,
    capacities.memory,
    capacities.pools,
    capacities.batches,
    capacities.slots,
    capacities.budget,
)


def check(snapshot: Snapshot, plan: Plan) -> tuple[Violation, ...]:
    """Every constraint that ``plan`` breaks for ``snapshot``; empty for a valid plan. Never raises on a bad plan."""
    case = Case(snapshot, plan)
    return tuple(violation for find in _CHECKS for violation in find(case))
