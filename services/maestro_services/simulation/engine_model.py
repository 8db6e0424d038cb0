"""What the simulated engines add to the performance model: noise that the planner does not see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineModel:
    """Noise and constants.

    Each request's prefill and decode time, and each load's, is off by a factor with median 1 whose logarithm has the
    standard deviation given here. ``unload_s``: from the command to stop an engine to its memory being free.
    """

    prefill_noise: float = 0.10
    decode_noise: float = 0.10
    load_noise: float = 0.10
    unload_s: float = 1.0
