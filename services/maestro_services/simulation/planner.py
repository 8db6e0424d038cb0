"""The real planner, charged in deterministic time, so that a seed gives one answer on every machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_solver.planner import PlannerConfig, plan

SECONDS_PER_UNIT = 1.0
"""Seconds that one unit of CP-SAT's deterministic time is taken for."""

PORTFOLIO_S_PER_STAGE = 1.5e-3
"""Seconds that the whole portfolio takes for one waiting stage."""

OVERHEAD_S = 0.02
"""Seconds that a plan takes whatever its size: sending the snapshot, discretising it, checking the plan."""


@dataclass(frozen=True, slots=True)
class ChargedPlanner:
    """Makes plans with the planner's own limits; ``config.limit_s`` is the limit that the live service has."""

    config: PlannerConfig

    def plan(self, snapshot: Snapshot) -> tuple[Plan, float]:
        """The plan, and after how many seconds it would have come: never more than the limit."""
        limit_s = self.config.limit_s
        made = plan(snapshot, replace(self.config, deterministic=True, limit_s=limit_s / SECONDS_PER_UNIT), lambda: 0.0)
        portfolio_s = OVERHEAD_S + PORTFOLIO_S_PER_STAGE * len(snapshot.waiting)
        exact = bool(snapshot.demand) or 0 < len(snapshot.waiting) <= self.config.max_exact_stages
        return made, limit_s if exact else min(limit_s, portfolio_s)
