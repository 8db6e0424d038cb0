"""What an operator can set about planning."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """Limits and resolution of the planner.

    ``limit_s`` bounds the whole call, model building included; ``margin_s`` of it is kept back from the solver for
    turning its answer into a plan. Stages start within ``horizon_s``. ``tick_s`` is the
    grid's. Snapshots with more waiting stages than ``max_exact_stages`` are not given to the exact model;
    ``max_candidates`` bounds the accelerators it considers per model, ``max_loads`` how often it may load one model on
    one accelerator. ``workers`` are the solver's threads and ``seed`` its random seed. ``deterministic`` makes equal
    calls give equal plans: one worker, and ``limit_s`` counted in the solver's deterministic time.
    """

    limit_s: float = 1.0
    margin_s: float = 0.05
    horizon_s: float = 120.0
    tick_s: float = 0.25
    max_exact_stages: int = 150
    max_candidates: int = 8
    max_loads: int = 2
    workers: int = 1
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for field in ("limit_s", "horizon_s", "tick_s", "max_candidates", "workers"):
            if getattr(self, field) <= 0:
                raise InvalidInputError(f"planner.{field}", "must be above 0", value=getattr(self, field))
        for field in ("margin_s", "max_exact_stages", "max_loads", "seed"):
            if getattr(self, field) < 0:
                raise InvalidInputError(f"planner.{field}", "must not be negative", value=getattr(self, field))
