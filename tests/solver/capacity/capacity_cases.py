"""Fleets, models and demands that the capacity tests are made of; the numbers are small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.fleet import (
    AcceleratorSpec,
    ClusterSpec,
    Fleet,
    GpuBudget,
    ModelSpec,
    NetworkSpec,
    NodeSpec,
    SpeedCoefficients,
)
from maestro_solver.capacity import CapacityProblem, Demand


def speed(
    decode_tokens_per_s: float = 10.0, batch_slope: float = 0.0, colocation_slope: float = 1.0
) -> SpeedCoefficients:
    return SpeedCoefficients(
        prefill_tokens_per_s=1e9,
        decode_tokens_per_s=decode_tokens_per_s,
        batch_slope=batch_slope,
        colocation_slope=colocation_slope,
        start_s=1.0,
    )


def model(
    name: str,
    weights_bytes: int = 400,
    *,
    kv_bytes_per_token: int = 1,
    kv_pool_bytes: int = 100,
    context_tokens: int = 1000,
    max_batch: int = 4,
    speeds: Mapping[str, SpeedCoefficients] | None = None,
    pinned_on: frozenset[str] = frozenset(),
    size: int = 1,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        weights_bytes=weights_bytes,
        kv_bytes_per_token=kv_bytes_per_token,
        kv_pool_bytes=kv_pool_bytes,
        overhead_bytes=0,
        context_tokens=context_tokens,
        max_batch=max_batch,
        speeds={"gpu": speed()} if speeds is None else speeds,
        pinned_on=pinned_on,
        tensor_parallel_size=size,
    )


def fleet(
    *models: ModelSpec,
    clusters: Mapping[str, int] | None = None,
    per_cluster: Mapping[str, int] | None = None,
    memory_bytes: int = 1000,
    slots: int = 4,
    kv_elastic: bool = False,
) -> Fleet:
    """Clusters by name with so many like accelerators, one node each; two in cluster "c" if none are given."""
    sizes = {"c": 2} if clusters is None else clusters
    return Fleet(
        clusters=tuple(
            ClusterSpec(
                cluster,
                (
                    NodeSpec(
                        f"{cluster}-n",
                        tuple(
                            AcceleratorSpec(f"{cluster}-{index}", "gpu", memory_bytes, slots, kv_elastic)
                            for index in range(count)
                        ),
                        host_memory_bytes=10_000,
                        disk_bytes_per_s=1000.0,
                        host_to_device_bytes_per_s=1000.0,
                    ),
                ),
            )
            for cluster, count in sizes.items()
        ),
        models={one.name: one for one in models},
        network=NetworkSpec(),
        budget=GpuBudget(sum(sizes.values()), dict(per_cluster or {})),
    )


def demand(
    name: str,
    model_name: str = "m",
    requests_per_s: float = 1.0,
    *,
    prompt_tokens: int = 0,
    output_tokens: int = 10,
    max_latency_s: float = 100.0,
    weight: float = 1.0,
) -> Demand:
    """A request of 10 output tokens takes a second alone at 10 tokens per second."""
    return Demand(name, model_name, requests_per_s, prompt_tokens, output_tokens, max_latency_s, weight)


def problem(where: Fleet, *demands: Demand, utilisation: float = 1.0) -> CapacityProblem:
    return CapacityProblem(where, demands, utilisation)
