"""Layouts: the sets of models, each at an operating point, that one accelerator can hold together."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from maestro.errors import InvalidInputError
from maestro.fleet import Fleet, ModelSpec
from maestro_solver.capacity.data import CapacityProblem
from maestro_solver.capacity.throughput import OperatingPoint, operating_points

MAX_LAYOUTS = 4000
"""Layouts kept for one group of accelerators."""

MAX_EXAMINED = 40_000
"""Combinations of operating points that fit, looked at for one group of accelerators."""


class Place(NamedTuple):
    """An accelerator by the names of its cluster, its node and its own."""

    cluster: str
    node: str
    accelerator: str


@dataclass(frozen=True, slots=True)
class AcceleratorGroup:
    """Accelerators that are alike, down to the models pinned on them.

    Those of a cluster with a limit of its own are apart from others; ``limited_cluster`` None: no such limit.
    """

    limited_cluster: str | None
    kind: str
    memory_bytes: int
    slots: int
    kv_elastic: bool
    pinned: frozenset[str]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What one accelerator of ``group`` (an index) holds: a point for each model, within its memory and slots."""

    group: int
    points: tuple[tuple[str, OperatingPoint], ...]


@dataclass(frozen=True, slots=True)
class Layouts:
    """All layouts to choose from. ``exhaustive``: none was left out, so that what they prove is proven."""

    groups: tuple[AcceleratorGroup, ...]
    layouts: tuple[Layout, ...]
    exhaustive: bool


def enumerate_layouts(problem: CapacityProblem) -> Layouts:
    """Return every layout worth using, small ones first, at most MAX_LAYOUTS a group.

    Raises InvalidInputError for a model pinned on a kind that cannot serve it.
    """
    groups = group_accelerators(problem.fleet)
    chosen: list[Layout] = []
    exhaustive = True
    for index, group in enumerate(groups):
        search = _LayoutSearch(problem, group)
        found = list(itertools.islice(search.run(), MAX_LAYOUTS + 1))
        exhaustive = exhaustive and len(found) <= MAX_LAYOUTS and search.examined <= MAX_EXAMINED
        chosen += [Layout(index, points) for points in found[:MAX_LAYOUTS]]
    return Layouts(groups, tuple(chosen), exhaustive)


def group_accelerators(fleet: Fleet) -> tuple[AcceleratorGroup, ...]:
    """Return the fleet's accelerators, like ones together, in the fleet's order."""
    places: defaultdict[tuple[str | None, str, int, int, bool, frozenset[str]], list[Place]] = defaultdict(list)
    for cluster in fleet.clusters:
        limited = cluster.name if cluster.name in fleet.budget.per_cluster else None
        for node in cluster.nodes:
            for one in node.accelerators:
                pinned = frozenset(model.name for model in fleet.models.values() if one.name in model.pinned_on)
                traits = (limited, one.kind, one.memory_bytes, one.slots, one.kv_elastic, pinned)
                places[traits].append(Place(cluster.name, node.name, one.name))
    return tuple(AcceleratorGroup(*traits, places=tuple(found)) for traits, found in places.items())


class _LayoutSearch:
    """Grows sets of models one by one, as long as they fit together, from those pinned on the group."""

    def __init__(self, problem: CapacityProblem, group: AcceleratorGroup) -> None:
        self._problem = problem
        self._group = group
        self._points: dict[tuple[str, int], tuple[OperatingPoint, ...]] = {}
        self.examined = 0

    def run(self) -> Iterator[tuple[tuple[str, OperatingPoint], ...]]:
        """Yield the combinations of (model, point) worth using, those of fewer models first."""
        demanded = sorted({demand.model for demand in self._problem.demands} - self._group.pinned)
        frontier = [tuple(sorted(self._group.pinned))]
        while frontier and self.examined <= MAX_EXAMINED:
            for models in frontier:
                if models:
                    yield from self._combinations(models)
            frontier = [
                (*models, added)
                for models in frontier
                for added in demanded
                if self._extends(models, added) and self._fits((*models, added))
            ]

    def _extends(self, models: tuple[str, ...], added: str) -> bool:
        """Whether ``added`` comes next in order, so that each set is met once, and may still be added."""
        own = models[len(self._group.pinned) :]
        return len(models) < self._problem.max_models and (not own or added > own[-1])

    def _fits(self, models: tuple[str, ...]) -> bool:
        """Whether the models fit at their cheapest; if not, no larger set does."""
        choices = [self._points_of(model, len(models)) for model in models]
        if not all(choices) or len(models) > self._group.slots:
            return False
        return sum(min(point.memory_bytes for point in points) for points in choices) <= self._group.memory_bytes

    def _combinations(self, models: tuple[str, ...]) -> Iterator[tuple[tuple[str, OperatingPoint], ...]]:
        """Yield the combinations of points that fit and in which no single point can be bettered."""
        choices = [self._points_of(model, len(models)) for model in models]
        partial: list[tuple[OperatingPoint, ...]] = [()]
        for options in choices:
            if len(partial) > MAX_EXAMINED:
                self.examined += len(partial)
                return
            partial = [(*points, point) for points in partial for point in options if self._feasible((*points, point))]
        for points in partial:
            self.examined += 1
            if self.examined > MAX_EXAMINED:
                return
            if not self._improvable(points, choices):
                yield tuple(zip(models, points, strict=True))

    def _feasible(self, points: tuple[OperatingPoint, ...]) -> bool:
        fits = sum(point.memory_bytes for point in points) <= self._group.memory_bytes
        return fits and sum(point.batch for point in points) <= self._group.slots

    def _improvable(self, points: tuple[OperatingPoint, ...], choices: list[tuple[OperatingPoint, ...]]) -> bool:
        """Whether one point can be replaced by another that serves strictly more, within memory and slots."""
        return any(
            better.serves_at_least(points[position])
            and not points[position].serves_at_least(better)
            and self._feasible((*points[:position], better, *points[position + 1 :]))
            for position, options in enumerate(choices)
            for better in options
        )

    def _points_of(self, name: str, active_models: int) -> tuple[OperatingPoint, ...]:
        known = self._points.get((name, active_models))
        if known is None:
            model = self._problem.fleet.models[name]
            known = operating_points(
                self._problem,
                model,
                self._group.kind,
                slots=self._group.slots,
                kv_elastic=self._group.kv_elastic,
                active_models=active_models,
            )
            if name in self._group.pinned:
                known = (*known, self._idle_point(model))
            self._points[name, active_models] = known
        return known

    def _idle_point(self, model: ModelSpec) -> OperatingPoint:
        """Return the point of a pinned replica that serves nothing: it takes its memory and one slot all the same."""
        if self._group.kind not in model.speeds:
            raise InvalidInputError(
                f"models.{model.name}.pinned_on",
                "names an accelerator of a kind that the model has no speed for",
                value=self._group.kind,
            )
        pool_bytes = 0 if self._group.kv_elastic else model.kv_pool_bytes
        return OperatingPoint(1, pool_bytes, model.fixed_bytes + pool_bytes, {})
