"""What is asked of the core-instance planner, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from maestro_solver.core_instance.problem import CorePlan, Terms


class PlanStatus(StrEnum):
    """How good the plan is known to be."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"


@dataclass(frozen=True)
class InstanceConfig:
    """How a plan is searched for.

    ``limit_s`` is wall clock, reading and checking included. ``workers`` is the number of threads. ``decodes`` makes
    the search deterministic: that many schedules are built per worker, whatever the clock says (None: search until
    the limit); then ``neighbourhoods`` are solved, in the solver's deterministic time.
    """

    limit_s: float = 2.0
    seed: int = 0
    workers: int = 2
    decodes: int | None = None
    neighbourhoods: int = 0


@dataclass(frozen=True)
class InstanceResult:
    """The best plan found and what is known about it.

    ``source`` names the part that found it (a rule, ``key_search``, a neighbourhood, ``exact``); ``bound`` is a valid
    lower bound on the objective; ``gains`` is how much each part lowered the objective; ``portfolio`` is what each
    rule cost; ``fallback_reason`` says why a stronger part gave nothing, where that was so.
    """

    plan: CorePlan
    terms: Terms
    bound: float
    source: str
    status: PlanStatus = PlanStatus.FEASIBLE
    fallback_reason: str | None = None
    gains: Mapping[str, float] = field(default_factory=dict)
    portfolio: Mapping[str, float] = field(default_factory=dict)
    decodes: int = 0

    @property
    def gap(self) -> float:
        """Share of the objective that the bound leaves open; 0 for a plan that costs nothing."""
        objective = self.terms.objective
        return max(0.0, (objective - self.bound) / objective) if objective > 0 else 0.0
