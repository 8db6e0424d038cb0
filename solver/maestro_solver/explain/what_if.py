"""A plan with one thing changed, and what the checker finds broken then."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from maestro.plan import Assignment, Plan, Residency
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.check import Constraint, check

MOMENT_S: Final = 1e-4
"""How long before an instant to ask; above the checker's tolerance."""


def with_start(plan: Plan, assignment: Assignment, start_s: float) -> Plan:
    """The plan with one stage started at another time in the same place."""
    moved = replace(assignment, start_s=start_s, end_s=start_s + assignment.end_s - assignment.start_s)
    return replace(plan, assignments=tuple(moved if each is assignment else each for each in plan.assignments))


def with_load_start(plan: Plan, load: Residency, start_s: float) -> Plan:
    """The plan with one load begun at another time."""
    moved = replace(load, load_start_s=start_s, ready_s=start_s + load.ready_s - load.load_start_s)
    return replace(plan, residencies=tuple(moved if each is load else each for each in plan.residencies))


def broken(snapshot: Snapshot, plan: Plan) -> set[Constraint]:
    """The constraints that the plan breaks."""
    return {violation.constraint for violation in check(snapshot, plan)}


def pinned_in_the_way(snapshot: Snapshot, plan: Plan, accelerator: str, model: str) -> tuple[str, ...]:
    """The other models pinned to the replica's accelerators, if the plan breaks memory with them and not without."""
    here = set(snapshot.members(model, accelerator))
    pinned = [
        found
        for found in plan.residencies
        if found.model != model
        and found.accelerator in snapshot.models[found.model].pinned_on
        and not here.isdisjoint(snapshot.members(found.model, found.accelerator))
    ]
    if not pinned or Constraint.MEMORY not in broken(snapshot, plan):
        return ()
    rest = tuple(found for found in plan.residencies if found not in pinned)
    without = broken(snapshot, replace(plan, residencies=rest))
    return () if Constraint.MEMORY in without else tuple(sorted({found.model for found in pinned}))


def narrowed(snapshot: Snapshot, plan: Plan, assignment: Assignment) -> tuple[Snapshot, Plan]:
    """Only the stage with all that precedes it, and what shares its accelerators, the latter without predecessors.

    Nothing else can keep the stage from starting earlier in its place, and the checker is asked often.
    """
    stages = {stage.key: stage for stage in snapshot.waiting}
    before: set[StageKey] = set()
    left = [assignment.stage]
    while left:
        key = left.pop()
        if key in stages and key not in before:
            before.add(key)
            left.extend(stages[key].predecessors)
    place = set(snapshot.members(assignment.model, assignment.accelerator))
    here = {
        found.stage
        for found in plan.assignments
        if not place.isdisjoint(snapshot.members(found.model, found.accelerator))
    }
    waiting = tuple(
        stage if stage.key in before else replace(stage, predecessors=(), inputs_from=frozenset(), not_before_s=0.0)
        for stage in snapshot.waiting
        if stage.key in before | here
    )
    kept = replace(
        plan,
        assignments=tuple(found for found in plan.assignments if found.stage in before | here),
        deferred=tuple(found for found in plan.deferred if found.stage in before | here),
    )
    return replace(snapshot, waiting=waiting), kept
