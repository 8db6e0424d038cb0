"""The real planner, charged in deterministic time, so that a seed gives one answer on every machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner.answering import PLANNER, plan_by

SECONDS_PER_UNIT = 1.0
"""Seconds that one unit of CP-SAT's deterministic time is taken for.

``benchmarks/planner/charged.py`` compares: plans of stages take 0.45 of what is charged in the median, a tenth of them
more than 1.2 of it; plans of residency, which are proven optimal long before, 0.01 to 0.03.
"""


@dataclass(frozen=True, slots=True)
class ChargedPlanner:
    """Makes plans with the planner's own limits; ``config.limit_s`` is the limit that the live service has.

    ``by`` is who makes them: ``planner``, ``portfolio``, or one of its members.
    """

    config: PlannerConfig
    by: str = PLANNER

    def plan(self, snapshot: Snapshot) -> tuple[Plan, float]:
        """The plan, and after how many seconds it would have come: the whole limit."""
        limit_s = self.config.limit_s
        config = replace(self.config, deterministic=True, limit_s=limit_s / SECONDS_PER_UNIT)
        return plan_by(self.by, snapshot, config, lambda: 0.0), limit_s
