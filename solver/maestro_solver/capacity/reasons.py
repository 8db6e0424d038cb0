"""Why demand cannot be served, with the numbers, as an operator reads it."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.performance import kv_bytes
from maestro_solver.capacity.data import Binding, CapacityProblem, Demand, Shortfall
from maestro_solver.capacity.grouping import AcceleratorGroup
from maestro_solver.capacity.layouts import Layouts
from maestro_solver.capacity.throughput import request_s

_GIGABYTE = 1e9


def obstacles(problem: CapacityProblem, layouts: Layouts) -> dict[str, Shortfall]:
    """Return, by name, the demands that no accelerator of the fleet can serve at all, each with its reason.

    Where layouts were left out, only what an accelerator of its own would not mend counts as proven.
    """
    servable = {demand for layout in layouts.layouts for _, point in layout.points for demand in point.needed}
    found = {
        demand.name: _obstacle(problem, layouts, demand)
        for index, demand in enumerate(problem.demands)
        if demand.requests_per_s > 0 and index not in servable
    }
    return {name: one for name, one in found.items() if layouts.exhaustive or one.binding is not Binding.PINNED}


def pinning_conflict(layouts: Layouts, budget: int, per_cluster: Mapping[str, int]) -> Shortfall | None:
    """Return why pinned replicas cannot all be resident: too little memory, or too small a budget."""
    holding = {layout.group for layout in layouts.layouts}
    pinned = [(index, group) for index, group in enumerate(layouts.groups) if group.traits.pinned]
    for index, group in pinned:
        if index not in holding:
            names = ", ".join(sorted(group.traits.pinned))
            return _never(
                "", Binding.PINNED, f"the models pinned on {group.places[0].accelerator} ({names}) do not fit together"
            )
    taken = sum(len(group.places) for _, group in pinned)
    if taken > budget:
        reason = f"pinned replicas alone take {taken} accelerators, the budget is {budget}"
        return Shortfall("", Binding.PINNED, reason, least_accelerators=None, least_is_proven=False)
    for cluster, limit in per_cluster.items():
        taken = sum(len(group.places) for _, group in pinned if group.traits.limited_cluster == cluster)
        if taken > limit:
            return _never(
                "",
                Binding.PINNED,
                f"pinned replicas take {taken} accelerators of cluster {cluster!r}, its limit is {limit}",
            )
    return None


def too_few(served: Mapping[str, float], budget: int) -> Shortfall:
    """Return the shortfall where the budget binds; which budget would do is not looked at here."""
    demand, share = _worst(served)
    reason = f"{_share_served(demand, share)}: the budget is {budget} accelerators"
    return Shortfall(demand, Binding.BUDGET, reason, least_accelerators=None, least_is_proven=False)


def fleet_too_small(served: Mapping[str, float], fleet_size: int, *, limited_by_cluster: bool) -> Shortfall:
    """Return the shortfall where no budget would do; ``limited_by_cluster``: it would without the clusters' limits."""
    demand, share = _worst(served)
    if limited_by_cluster:
        reason = f"{_share_served(demand, share)}: the limits per cluster leave too few accelerators"
        return _never(demand, Binding.CLUSTER_LIMIT, reason)
    reason = f"{_share_served(demand, share)}: all {fleet_size} accelerators of the fleet are too few"
    return _never(demand, Binding.FLEET, reason)


def _obstacle(problem: CapacityProblem, layouts: Layouts, demand: Demand) -> Shortfall:
    """Return the first thing that no accelerator gets past: speed, size, context, memory, latency, pinned models."""
    model = problem.fleet.models[demand.model]
    with_speed = [group for group in layouts.groups if group.traits.kind in model.speeds]
    if not with_speed:
        kinds = sorted({group.traits.kind for group in layouts.groups})
        return _never(
            demand.name,
            Binding.NO_SPEED,
            f"model {model.name!r} has no speed for any kind of the fleet ({', '.join(kinds)})",
        )
    if not any(model.tensor_parallel_size in group.blocks for group in with_speed):
        reason = (
            f"model {model.name!r} takes {model.tensor_parallel_size} accelerators at once, "
            "no node has so many that are alike and free of pinned models"
        )
        return _never(demand.name, Binding.GROUP, reason)
    if demand.tokens > model.context_tokens:
        reason = (
            f"a request of {demand.name!r} takes {demand.tokens} tokens, "
            f"{model.name!r} has a context of {model.context_tokens}"
        )
        return _never(demand.name, Binding.CONTEXT, reason)
    holding = [group for group in with_speed if _holds(problem, group, demand)]
    if not holding:
        return _never(demand.name, Binding.MEMORY, _memory_reason(problem, with_speed, demand))
    fastest_s = min(request_s(model.speeds[group.traits.kind], demand, 1, 1) for group in holding)
    if fastest_s > demand.max_latency_s:
        reason = (
            f"a request of {demand.name!r} alone takes {fastest_s:.3g} s at best, "
            f"its limit is {demand.max_latency_s:g} s"
        )
        return _never(demand.name, Binding.LATENCY, reason)
    reason = (
        f"pinned models leave no room or time for {model.name!r} on any accelerator that could serve {demand.name!r}"
    )
    return _never(demand.name, Binding.PINNED, reason)


def _holds(problem: CapacityProblem, group: AcceleratorGroup, demand: Demand) -> bool:
    """Whether empty accelerators of the group hold the model and one request's KV."""
    model = problem.fleet.models[demand.model]
    if model.tensor_parallel_size not in group.blocks:
        return False
    request_bytes = kv_bytes(model, demand.tokens)
    if not group.traits.kv_elastic and request_bytes > model.kv_pool_bytes:
        return False
    pool_bytes = request_bytes if group.traits.kv_elastic else model.kv_pool_bytes
    return model.resident_share_bytes(pool_bytes) <= group.traits.memory_bytes


def _memory_reason(problem: CapacityProblem, groups: list[AcceleratorGroup], demand: Demand) -> str:
    model = problem.fleet.models[demand.model]
    fixed, request, pool = (
        model.share_bytes(whole_bytes) / _GIGABYTE
        for whole_bytes in (model.fixed_bytes, kv_bytes(model, demand.tokens), model.kv_pool_bytes)
    )
    largest_gigabytes = max(group.traits.memory_bytes for group in groups) / _GIGABYTE
    size = model.tensor_parallel_size
    return (
        f"model {model.name!r} takes {fixed:.3g} GB and a request of {demand.name!r} "
        f"{request:.3g} GB of KV (fixed pool: {pool:.3g} GB){f' of each of {size} accelerators' if size > 1 else ''}; "
        f"the largest accelerator that can run it has {largest_gigabytes:.3g} GB"
    )


def _worst(served: Mapping[str, float]) -> tuple[str, float]:
    """Return the demand with the smallest share served, the first of these."""
    return min(served.items(), key=lambda item: item[1])


def _share_served(demand: str, share: float) -> str:
    return f"demand {demand!r} is served to {share:.1%}"


def _never(demand: str, binding: Binding, reason: str) -> Shortfall:
    return Shortfall(demand, binding, reason, least_accelerators=None, least_is_proven=True)
