"""From a snapshot to a plan inside a time limit: the portfolio first, then the exact model, every candidate checked."""

from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.planning import plan
from maestro_solver.planner.rebase import rebase

__all__ = ["PlannerConfig", "plan", "rebase"]
