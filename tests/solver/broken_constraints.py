"""What the checker has against a plan, as tests compare it."""

from __future__ import annotations

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_solver.check import Constraint, check


def broken(given: Snapshot, plan: Plan) -> set[Constraint]:
    """The names of the constraints that the checker finds broken."""
    return {violation.constraint for violation in check(given, plan)}
