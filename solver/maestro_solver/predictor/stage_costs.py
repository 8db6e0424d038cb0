"""Memory and time of a stage from the forecast of its output."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from maestro.fleet import ModelSpec, SpeedCoefficients
from maestro.performance import kv_bytes, prefill_s, slowdown
from maestro_solver.predictor.forecast import StageForecast


def reserved_kv_bytes(model: ModelSpec, prompt_tokens: int, forecast: StageForecast, share: float) -> int:
    """KV cache, bytes, that prompt and output stay within with probability ``share``, at most the model's context."""
    output = float(forecast.quantiles(np.array([share]))[0])
    return kv_bytes(model, min(prompt_tokens + math.ceil(output), model.context_tokens))


def stage_seconds(
    speed: SpeedCoefficients,
    prompt_tokens: int,
    forecast: StageForecast,
    shares: NDArray[np.floating],
    *,
    batch: int = 1,
    active_models: int = 1,
    produced_tokens: int | None = None,
) -> NDArray[np.float64]:
    """Seconds that a stage takes at most with probability ``shares``, in the performance model's terms.

    A stage that has not begun takes prefill and decode; one that has produced ``produced_tokens`` what is left of its
    decode, given that it came so far.
    """
    done = produced_tokens or 0
    left = forecast.quantiles(shares, done) - done
    decode_s = left * slowdown(speed, batch, active_models) / speed.decode_tokens_per_s
    before_s = prefill_s(speed, prompt_tokens) if produced_tokens is None else 0.0
    seconds: NDArray[np.float64] = before_s + decode_s
    return seconds
