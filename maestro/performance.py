"""The performance model: how long prefill, decode, whole stages and weight loads take, and what KV memory they need.

Everything here is a pure function of a model's coefficients. Planner, scheduler and simulator share it; the
simulator adds noise of its own, which the planner does not see.

Interference. With ``b`` stages in a replica's batch and ``a`` models active on the accelerator, a decode step takes

    (1 + batch_slope * (b - 1)) * (1 + colocation_slope) ** (a - 1) / decode_tokens_per_s

seconds: mildly more for a larger batch, since a step reads the weights once for all of it, and strongly more for
each further active model, since replicas on one accelerator take turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import networkx as nx

from maestro.costs import LengthForecast
from maestro.errors import InvalidInputError, UnsupportedError
from maestro.fleet import ModelSpec, NodeSpec, SpeedCoefficients, WeightTier
from maestro.snapshot import RunOption


class ReservationQuantile(StrEnum):
    """Which quantile of the predicted output length a KV reservation is made for."""

    P50 = "p50"
    P90 = "p90"
    P95 = "p95"

    def of(self, forecast: LengthForecast) -> float:
        """Return this quantile of ``forecast``, in tokens."""
        quantiles = {
            ReservationQuantile.P50: forecast.p50_tokens,
            ReservationQuantile.P90: forecast.p90_tokens,
            ReservationQuantile.P95: forecast.p95_tokens,
        }
        return quantiles[self]


def speed_of(model: ModelSpec, kind: str) -> SpeedCoefficients:
    """Return the coefficients of ``model`` on accelerators of ``kind``.

    Raises InvalidInputError where the model has no speed for the kind, that is, cannot be served there.
    """
    speed = model.speeds.get(kind)
    if speed is None:
        raise InvalidInputError(
            f"models.{model.name}.speeds",
            "has no entry for this accelerator kind",
            value=kind,
            remedy=f"add coefficients for it, or use one of {sorted(model.speeds)}",
        )
    return speed


def slowdown(speed: SpeedCoefficients, batch: int = 1, active_models: int = 1) -> float:
    """How many times longer a decode step takes than alone (1.0 or more); the formula stands at the module's top."""
    _require_at_least("batch", batch, 1)
    _require_at_least("active_models", active_models, 1)
    crowding: float = (1.0 + speed.colocation_slope) ** (active_models - 1)
    return (1.0 + speed.batch_slope * (batch - 1)) * crowding


def prefill_s(speed: SpeedCoefficients, tokens: float) -> float:
    """Seconds until a prompt of ``tokens`` is processed."""
    _require_at_least("tokens", tokens, 0)
    return speed.prefill_overhead_s + tokens / speed.prefill_tokens_per_s


def decode_s(speed: SpeedCoefficients, tokens: float, batch: int = 1, active_models: int = 1) -> float:
    """Seconds to produce ``tokens`` in a batch of ``batch`` beside ``active_models - 1`` other active models."""
    _require_at_least("tokens", tokens, 0)
    return tokens * slowdown(speed, batch, active_models) / speed.decode_tokens_per_s


def stage_s(
    speed: SpeedCoefficients, prompt_tokens: float, output_tokens: float, batch: int = 1, active_models: int = 1
) -> float:
    """Seconds that a stage spends in the engine: prefill, then decode."""
    return prefill_s(speed, prompt_tokens) + decode_s(speed, output_tokens, batch, active_models)


def engine_start_s(model: ModelSpec, kind: str) -> float:
    """The part of a load that comes after the weights are read, and so needs no link; 0 where the kind is unknown."""
    speed = model.speeds.get(kind)
    return speed.start_s if speed is not None else 0.0


def load_s(model: ModelSpec, node: NodeSpec, kind: str, tier: WeightTier) -> float:
    """Seconds from the start of a load to readiness on an accelerator of ``kind`` of ``node``.

    ``tier`` is where the weights are now. DEVICE: 0. HOST (an engine that sleeps): one copy to the device.
    DISK: read into host memory, copy to the device, and start the engine.
    Raises UnsupportedError for REMOTE: a node has no link to fetch weights over; InvalidInputError for a kind
    that cannot serve the model.
    """
    speed = speed_of(model, kind)
    copy_s = model.weights_bytes / node.host_to_device_bytes_per_s
    match tier:
        case WeightTier.DEVICE:
            return 0.0
        case WeightTier.HOST:
            return copy_s
        case WeightTier.DISK:
            return model.weights_bytes / node.disk_bytes_per_s + copy_s + speed.start_s
        case WeightTier.REMOTE:
            raise UnsupportedError(
                f"model {model.name!r} is not on node {node.name!r}, which cannot fetch weights; "
                "put them on one of its disks"
            )


def kv_bytes(model: ModelSpec, tokens: float) -> int:
    """KV cache that ``tokens`` (prompt and output together) take, rounded up to a whole token."""
    _require_at_least("tokens", tokens, 0)
    return math.ceil(tokens) * model.kv_bytes_per_token


def reservation_tokens(
    model: ModelSpec, forecast: LengthForecast, prompt_tokens: int, max_tokens: int, quantile: ReservationQuantile
) -> int:
    """Tokens to reserve KV for: prompt plus the chosen quantile, within ``max_tokens`` and the model's context."""
    output = min(math.ceil(quantile.of(forecast)), max_tokens)
    return min(prompt_tokens + output, model.context_tokens)


def run_options(
    models: Sequence[ModelSpec],
    forecasts: Mapping[str, LengthForecast],
    prompt_tokens: int,
    max_tokens: int,
    kinds: Iterable[str],
    quantile: ReservationQuantile,
    expected_batch: int = 1,
) -> tuple[RunOption, ...]:
    """List the ways a stage can run: each of ``models``, in order, on each of ``kinds`` that can serve it.

    ``forecasts`` is keyed by model name. Durations assume a batch of ``expected_batch`` and no other active model.
    A model whose context leaves no room for a token after the prompt gives no option, so that an empty result says
    that the stage cannot run as it is. Whether a reservation fits a replica's pool is for the planner to see.
    Raises InvalidInputError for a model without a forecast, or numbers below their least.
    """
    _require_at_least("prompt_tokens", prompt_tokens, 0)
    _require_at_least("max_tokens", max_tokens, 1)
    distinct_kinds = tuple(dict.fromkeys(kinds))
    options: list[RunOption] = []
    for model in models:
        room = model.context_tokens - prompt_tokens
        if room < 1:
            continue
        forecast = _forecast_of(model, forecasts)
        capped = forecast.capped(min(max_tokens, room))
        reserved = kv_bytes(model, reservation_tokens(model, forecast, prompt_tokens, max_tokens, quantile))
        for kind in distinct_kinds:
            speed = model.speeds.get(kind)
            if speed is not None:
                median_s = stage_s(speed, prompt_tokens, capped.p50_tokens, expected_batch)
                upper_s = stage_s(speed, prompt_tokens, capped.p90_tokens, expected_batch)
                options.append(RunOption(model.name, kind, median_s, upper_s, reserved))
    return tuple(options)


def tails(graph: nx.DiGraph[str], stage_seconds: Mapping[str, float]) -> dict[str, float]:
    """For each stage the longest path, in seconds, from its start to the workflow's end (its own time included).

    ``graph`` has an edge from each predecessor to its successor. Linear in stages and edges, without recursion.
    Raises InvalidInputError for a cycle, or a stage whose seconds are missing, negative or not finite.
    """
    try:
        order = list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        raise InvalidInputError(
            "stages", "depend on each other in a cycle", remedy="remove one of its dependencies"
        ) from None
    longest: dict[str, float] = {}
    for stage in reversed(order):
        own_s = _seconds_of(stage, stage_seconds)
        longest[stage] = own_s + max((longest[successor] for successor in graph.successors(stage)), default=0.0)
    return longest


def critical_path_s(graph: nx.DiGraph[str], stage_seconds: Mapping[str, float]) -> float:
    """Return the least seconds in which the whole workflow can end (0 for an empty graph); errors as for ``tails``."""
    return max(tails(graph, stage_seconds).values(), default=0.0)


def _forecast_of(model: ModelSpec, forecasts: Mapping[str, LengthForecast]) -> LengthForecast:
    forecast = forecasts.get(model.name)
    if forecast is None:
        raise InvalidInputError(
            f"forecasts.{model.name}", "is missing", remedy="forecast a length for every acceptable model"
        )
    return forecast


def _seconds_of(stage: str, stage_seconds: Mapping[str, float]) -> float:
    seconds = stage_seconds.get(stage)
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        raise InvalidInputError(
            f"stage_seconds.{stage}", "must be a finite number of seconds, 0 or more", value=seconds
        )
    return seconds


def _require_at_least(field: str, value: float, least: int) -> None:
    """Refuse NaN, infinity and anything below ``least``."""
    if not (least <= value < math.inf):
        raise InvalidInputError(field, f"must be a finite number, {least} or more", value=value)
