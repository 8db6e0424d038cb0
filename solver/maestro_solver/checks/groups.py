"""Checks of groups: a tensor-parallel replica takes all accelerators of one of its groups, named by the first."""

from __future__ import annotations

from collections.abc import Iterator

from maestro_solver.checks.case import Case, Constraint, Violation


def groups(case: Case) -> Iterator[Violation]:
    """A tensor-parallel model is loaded, and its stages run, only where a group of its begins that is all there."""
    for assignment in case.plan.assignments:
        if not _begins_a_group(case, assignment.model, assignment.accelerator):
            yield _violation(str(assignment.stage), assignment.model, assignment.accelerator)
    for residency in case.plan.residencies:
        if not residency.initial and not _begins_a_group(case, residency.model, residency.accelerator):
            yield _violation("a load", residency.model, residency.accelerator)


def _begins_a_group(case: Case, model: str, accelerator: str) -> bool:
    """Whether a replica of the model can be named by the accelerator; of a model that needs only one, by any."""
    spec = case.snapshot.models.get(model)
    if spec is None or spec.tensor_parallel_size == 1:
        return True
    members = case.snapshot.groups.get((model, accelerator), ())
    return len(members) == spec.tensor_parallel_size and case.accelerators.keys() >= set(members)


def _violation(what: str, model: str, accelerator: str) -> Violation:
    return Violation(Constraint.GROUP, f"{what} is on {accelerator}, where no group for {model} begins")
