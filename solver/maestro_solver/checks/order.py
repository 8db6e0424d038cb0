"""Checks of order in time: predecessors, what crosses the network, and stages held back."""

from __future__ import annotations

import math
from collections.abc import Iterator

from maestro.plan import Assignment
from maestro_solver.checks.case import TOLERANCE_S, Case, Constraint, Violation


def precedence(case: Case) -> Iterator[Violation]:
    """A stage starts after its predecessors have ended, and after their output has crossed the network."""
    for assignment in case.plan.assignments:
        stage = case.waiting.get(assignment.stage)
        cluster = case.cluster_of(assignment.stage)
        for predecessor in stage.predecessors if stage is not None else ():
            finish_s = case.finish_s(predecessor)
            if math.isinf(finish_s):
                yield Violation(
                    Constraint.DEFERRED_PREDECESSOR, f"{assignment.stage} is planned but {predecessor} is not"
                )
                continue
            origin = case.cluster_of(predecessor)
            delay_s = 0.0 if origin is None or origin == cluster else case.snapshot.network_delay_s
            if assignment.start_s < finish_s + delay_s - TOLERANCE_S:
                yield Violation(
                    Constraint.PRECEDENCE,
                    f"{assignment.stage} starts at {assignment.start_s} s, before {predecessor} ends at"
                    f" {finish_s} s and {delay_s} s of network delay are over",
                )


def earliest_starts(case: Case) -> Iterator[Violation]:
    """A stage that is held back, or whose ended predecessors ran in another cluster, does not start too early."""
    for assignment in case.plan.assignments:
        earliest_s = _earliest_s(case, assignment)
        if assignment.start_s < earliest_s - TOLERANCE_S:
            yield Violation(
                Constraint.NOT_BEFORE,
                f"{assignment.stage} starts at {assignment.start_s} s but not before {earliest_s} s",
            )


def _earliest_s(case: Case, assignment: Assignment) -> float:
    stage = case.waiting.get(assignment.stage)
    if stage is None:
        return 0.0
    crosses = bool(stage.inputs_from - {case.cluster_of(assignment.stage)})
    return max(stage.not_before_s, case.snapshot.network_delay_s if crosses else 0.0)
