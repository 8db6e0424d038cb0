"""How much demand a replica serves, by the batch size it is run at."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from maestro.fleet import ModelSpec, SpeedCoefficients
from maestro.performance import decode_s, kv_bytes, prefill_s, slowdown
from maestro_solver.capacity.data import CapacityProblem, Demand


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A way to run a replica: at most ``batch`` requests at once, in a KV pool of ``kv_pool_bytes``.

    ``memory_bytes`` is all it takes of each of its accelerators. ``needed`` gives, for the index of each demand that it
    can serve, how many such replicas would serve the whole of it alone; mixtures add up.
    """

    batch: int
    kv_pool_bytes: int
    memory_bytes: int
    needed: Mapping[int, float]

    def dominates(self, other: OperatingPoint) -> bool:
        """Whether it serves all that ``other`` does, at no greater cost in batch slots and memory."""
        cheap = self.batch <= other.batch and self.memory_bytes <= other.memory_bytes
        return cheap and self.serves_at_least(other)

    def serves_at_least(self, other: OperatingPoint) -> bool:
        """Whether it serves every demand of ``other`` with no more replicas."""
        never = float("inf")
        return all(self.needed.get(demand, never) <= replicas for demand, replicas in other.needed.items())


def request_s(speed: SpeedCoefficients, demand: Demand, batch: int, active_models: int) -> float:
    """Seconds that a request spends in a full batch of ``batch``.

    In a batch that is kept full each of the others is replaced once while a request runs, so it waits for ``batch``
    prefills in all. Co-located replicas take turns, in prefill as in decode: both are slowed by ``active_models``,
    all taken as busy all the time. Both are the worst case.
    """
    turns = slowdown(speed, 1, active_models)
    prefills_s = batch * turns * prefill_s(speed, demand.prompt_tokens)
    return prefills_s + decode_s(speed, demand.output_tokens, batch, active_models)


def operating_points(
    problem: CapacityProblem, model: ModelSpec, kind: str, *, slots: int, kv_elastic: bool, active_models: int
) -> tuple[OperatingPoint, ...]:
    """Return the ways worth running ``model`` on an accelerator of ``kind``, none dominated by another.

    Batch sizes are the powers of two, the largest possible, and for each demand the largest that keeps its latency
    and the one that fills a fixed pool. Empty where no demand for the model can be served there.
    """
    speed = model.speeds.get(kind)
    demands = {
        index: demand
        for index, demand in enumerate(problem.demands)
        if demand.model == model.name and demand.requests_per_s > 0 and demand.tokens <= model.context_tokens
    }
    if speed is None or not demands:
        return ()
    points: list[OperatingPoint] = []
    largest = min(model.max_batch, slots)
    sizes = _batch_sizes(speed, demands, largest, active_models)
    if not kv_elastic:
        sizes |= {concurrent_requests(model, demand, largest, model.kv_pool_bytes) for demand in demands.values()}
    for batch in sorted(sizes - {0}):
        for pool_bytes in _pool_sizes(model, demands, batch, kv_elastic=kv_elastic):
            needed = {
                index: demand.requests_per_s * seconds / (at_once * problem.utilisation)
                for index, demand in demands.items()
                if (seconds := request_s(speed, demand, batch, active_models)) <= demand.max_latency_s
                and (at_once := concurrent_requests(model, demand, batch, pool_bytes)) > 0
            }
            if needed:
                held_bytes = model.resident_share_bytes(pool_bytes)
                points.append(OperatingPoint(batch, pool_bytes, held_bytes, needed))
    return _undominated(points)


def concurrent_requests(model: ModelSpec, demand: Demand, batch: int, pool_bytes: int) -> int:
    """Return how many requests of ``demand`` run at once: the batch size, or fewer where the pool holds fewer."""
    each_bytes = kv_bytes(model, demand.tokens)
    return batch if each_bytes == 0 else min(batch, pool_bytes // each_bytes)


def _batch_sizes(speed: SpeedCoefficients, demands: Mapping[int, Demand], largest: int, active_models: int) -> set[int]:
    """Return the powers of two, ``largest``, and for each demand the largest that keeps its latency (0: none)."""
    sizes = {1 << power for power in range(largest.bit_length())} | {largest}
    for demand in demands.values():
        seconds = partial(_seconds_at, speed, demand, active_models)
        sizes.add(bisect_right(range(1, largest + 1), demand.max_latency_s, key=seconds))
    return sizes


def _seconds_at(speed: SpeedCoefficients, demand: Demand, active_models: int, batch: int) -> float:
    return request_s(speed, demand, batch, active_models)


def _pool_sizes(model: ModelSpec, demands: Mapping[int, Demand], batch: int, *, kv_elastic: bool) -> tuple[int, ...]:
    """Return the pools to consider: the fixed one, or room for a full batch of one demand's requests."""
    if not kv_elastic:
        return (model.kv_pool_bytes,)
    return tuple(sorted({batch * kv_bytes(model, demand.tokens) for demand in demands.values()}))


def _undominated(points: list[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    kept: list[OperatingPoint] = []
    for point in points:
        if not any(other.dominates(point) for other in kept):
            kept = [other for other in kept if not point.dominates(other)]
            kept.append(point)
    return tuple(kept)
