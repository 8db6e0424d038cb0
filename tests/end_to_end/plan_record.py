"""Which plans were in force when, as a client that asks again and again comes to know it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from maestro.client import PlanReport
from maestro.plan import Plan


@dataclass
class PlanRecord:
    """The plans of one scheduler's life, which began at ``began_s`` (seconds since the Unix epoch) or later.

    ``counted`` is what the scheduler last said of how many plans it has put in force, by source.
    """

    began_s: float
    plans: dict[tuple[int, float], Plan] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def note(self, report: PlanReport) -> None:
        """Takes in one answer; one that an earlier scheduler gave is left out."""
        plan = report.plan
        if plan is not None and plan.taken_at_s >= self.began_s:
            self.counted = dict(report.plans_by_source)
            self.plans[plan.provenance.snapshot_version, plan.taken_at_s] = plan

    @property
    def missed(self) -> int:
        """How many plans were in force between two answers only."""
        return sum(self.counted.values()) - len(self.plans)

    def sources(self) -> Counter[str]:
        """How many of the plans seen came from each source."""
        return Counter(str(plan.provenance.source) for plan in self.plans.values())


def in_force(lives: list[PlanRecord], from_s: float, to_s: float) -> list[Plan]:
    """The plans seen that were in force at some instant between two; those of a scheduler end with its life."""
    found = []
    for life, following in zip(lives, [*lives[1:], None], strict=True):
        died_s = following.began_s if following is not None else float("inf")
        plans = sorted(life.plans.values(), key=lambda plan: plan.taken_at_s)
        for plan, successor in zip(plans, [*plans[1:], None], strict=True):
            replaced_s = min(died_s, successor.taken_at_s if successor is not None else float("inf"))
            if plan.taken_at_s <= to_s and replaced_s > from_s:
                found.append(plan)
    return found
