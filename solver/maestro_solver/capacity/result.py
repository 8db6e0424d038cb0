"""From a solution of the program to replicas on named accelerators."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from maestro_solver.capacity.data import CapacityProblem, PlannedReplica
from maestro_solver.capacity.grouping import AcceleratorGroup, Place
from maestro_solver.capacity.layouts import Layout, Layouts
from maestro_solver.capacity.model import Solution

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Realised:
    """Replicas, the accelerators they take, and the share of each demand (by name) that they serve."""

    replicas: tuple[PlannedReplica, ...]
    accelerators_used: int
    served: dict[str, float]

    @property
    def complete(self) -> bool:
        """Whether all demand is served, up to the solver's tolerance."""
        return all(share >= 1 - _TOLERANCE for share in self.served.values())


def realise(problem: CapacityProblem, layouts: Layouts, solution: Solution | None) -> Realised:
    """Give each layout's blocks their names and spread its load evenly over them.

    Accelerators that the solution counts but does not need are left out, except where models are pinned.
    None, as no solution, serves nothing.
    """
    if solution is None:
        return Realised((), 0, _served(problem, []))
    free = {place for group in layouts.groups for place in group.places}
    replicas: list[PlannedReplica] = []
    used = 0
    for index, layout in sorted(enumerate(layouts.layouts), key=lambda found: -found[1].size):  # large blocks first
        loads, shares = _loads(layout, index, solution)
        group = layouts.groups[layout.group]
        count = solution.counts[index]
        if not group.traits.pinned:
            serves = any(shares.values())  # requests of no tokens take a replica, though they load none
            count = min(count, max(int(serves), math.ceil(max(loads.values()) - _TOLERANCE)))
        used += count * layout.size
        for block in [found for found in group.blocks[layout.size] if free.issuperset(found)][:count]:
            free.difference_update(block)
            replicas += _replicas_at(problem, group, block[0], layout, _Spread(count, loads, shares))
    return Realised(tuple(replicas), used, _served(problem, replicas))


@dataclass(frozen=True, slots=True)
class _Spread:
    """What all accelerators of a layout carry together, by model: replicas' worth of load, and shares of demands."""

    count: int
    loads: dict[str, float]
    shares: dict[str, dict[int, float]]


def _loads(layout: Layout, index: int, solution: Solution) -> tuple[dict[str, float], dict[str, dict[int, float]]]:
    """Return by model how many replicas' worth of load it carries, and which shares of demands."""
    loads: dict[str, float] = {}
    shares: dict[str, dict[int, float]] = {}
    for model, point in layout.points:
        shares[model] = {d: share for d in point.needed if (share := solution.served.get((index, model, d), 0.0)) > 0}
        loads[model] = sum(point.needed[demand] * share for demand, share in shares[model].items())
    return loads, shares


def _replicas_at(
    problem: CapacityProblem, group: AcceleratorGroup, place: Place, layout: Layout, spread: _Spread
) -> Iterator[PlannedReplica]:
    for model, point in layout.points:
        load = spread.loads[model] / spread.count
        within = min(1.0, 1.0 / load) if load > 0 else 1.0  # the solver may overstep by its tolerance
        rates = {
            problem.demands[index].name: within * share * problem.demands[index].requests_per_s / spread.count
            for index, share in spread.shares[model].items()
        }
        yield PlannedReplica(
            model=model,
            cluster=place.cluster,
            node=place.node,
            accelerator=place.accelerator,
            kind=group.traits.kind,
            batch=point.batch,
            kv_pool_bytes=point.kv_pool_bytes,
            load=within * load * problem.utilisation,
            requests_per_s=rates,
        )


def _served(problem: CapacityProblem, replicas: list[PlannedReplica]) -> dict[str, float]:
    rates: defaultdict[str, float] = defaultdict(float)
    for replica in replicas:
        for name, rate in replica.requests_per_s.items():
            rates[name] += rate
    return {
        demand.name: min(1.0, rates[demand.name] / demand.requests_per_s) if demand.requests_per_s > 0 else 1.0
        for demand in problem.demands
    }
