"""Checks of single stages: each is planned once, as one of its options, inside the horizon and a ready residency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from maestro.plan import Assignment
from maestro.snapshot import RunOption
from maestro_solver.checks.case import TOLERANCE_S, Case, Constraint, Violation


def each_stage_once(case: Case) -> Iterator[Violation]:
    """An LLM stage is assigned or deferred exactly once; a tool stage is never assigned, and deferred at most once."""
    assigned = Counter(assignment.stage for assignment in case.plan.assignments)
    deferred = Counter(deferral.stage for deferral in case.plan.deferred)
    for key, stage in case.waiting.items():
        times = f"assigned {assigned[key]} times and deferred {deferred[key]} times"
        if stage.external_s is not None:
            if assigned[key] or deferred[key] > 1:
                yield Violation(Constraint.EACH_STAGE_ONCE, f"tool stage {key} is {times}")
        elif assigned[key] + deferred[key] != 1:
            yield Violation(Constraint.EACH_STAGE_ONCE, f"stage {key} is {times}")
    for key in sorted((assigned + deferred).keys() - case.waiting.keys()):
        yield Violation(Constraint.KNOWN_NAMES, f"stage {key} is planned but does not wait")


def options(case: Case) -> Iterator[Violation]:
    """A stage runs as one of its options, with that option's reservation and duration."""
    for assignment in case.plan.assignments:
        if assignment.accelerator not in case.accelerators:
            yield Violation(Constraint.KNOWN_NAMES, f"{assignment.stage} is on unknown {assignment.accelerator}")
            continue
        option = _option_of(case, assignment)
        if option is None:
            yield Violation(
                Constraint.OPTION,
                f"{assignment.stage} has no option for {assignment.model} on {assignment.accelerator}"
                f" with {assignment.kv_bytes} bytes of KV",
            )
        elif abs(assignment.end_s - assignment.start_s - _takes_s(case, assignment, option)) > TOLERANCE_S:
            yield Violation(
                Constraint.DURATION,
                f"{assignment.stage} is planned from {assignment.start_s} s to {assignment.end_s} s"
                f" but takes {_takes_s(case, assignment, option)} s",
            )


def horizon(case: Case) -> Iterator[Violation]:
    """A stage starts neither before the snapshot nor after the horizon."""
    for assignment in case.plan.assignments:
        if not -TOLERANCE_S <= assignment.start_s <= case.plan.horizon_s + TOLERANCE_S:
            yield Violation(
                Constraint.HORIZON,
                f"{assignment.stage} starts at {assignment.start_s} s, outside 0 to {case.plan.horizon_s} s",
            )


def inside_residency(case: Case) -> Iterator[Violation]:
    """A stage runs inside one ready residency of its model that is not draining."""
    for assignment in case.plan.assignments:
        if case.host_of(assignment) is not None:
            continue
        constraint = Constraint.DRAINING if _on_draining(case, assignment) else Constraint.INSIDE_RESIDENCY
        yield Violation(
            constraint,
            f"{assignment.stage} runs from {assignment.start_s} s to {assignment.end_s} s, when"
            f" {assignment.accelerator} has no usable {assignment.model}",
        )


def _on_draining(case: Case, assignment: Assignment) -> bool:
    """Whether the only replica under the assignment is a draining one."""
    under = {
        position
        for position, residency in enumerate(case.plan.residencies)
        if (residency.accelerator, residency.model) == (assignment.accelerator, assignment.model)
    }
    return bool(under) and under <= case.draining


def _takes_s(case: Case, assignment: Assignment, option: RunOption) -> float:
    """Seconds of the option where it is planned: less what the replica's KV saves, stretched by neighbours."""
    stretch = case.accelerators[assignment.accelerator].stretch.get(assignment.model, 1.0)
    place = (assignment.model, assignment.accelerator)
    saved_s = sum(
        found.saved_s for found in case.waiting[assignment.stage].reuse if (found.model, found.accelerator) == place
    )
    return max(0.0, option.duration_s - saved_s) * stretch


def _option_of(case: Case, assignment: Assignment) -> RunOption | None:
    stage = case.waiting.get(assignment.stage)
    kind = case.accelerators[assignment.accelerator].kind
    for option in stage.options if stage is not None else ():
        if (option.model, option.kind, option.kv_bytes) == (assignment.model, kind, assignment.kv_bytes):
            return option
    return None
