"""Layouts: the sets of models, each at an operating point, that one accelerator can hold together, or one block.

A block is as many accelerators as a tensor-parallel replica takes: like neighbours of one node. Only replicas of one
size share a block: beside a model that takes one accelerator, all the others would wait for the slowest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec
from maestro_solver.capacity.data import CapacityProblem
from maestro_solver.capacity.grouping import AcceleratorGroup, group_accelerators
from maestro_solver.capacity.throughput import OperatingPoint, operating_points

MAX_LAYOUTS = 4000
"""Layouts kept for one group of accelerators."""

MAX_EXAMINED = 40_000
"""Combinations of operating points that fit, looked at for one group of accelerators."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What one block of ``size`` accelerators of ``group`` (an index) holds: a point for each model.

    They fit the memory and the slots of each accelerator.
    """

    group: int
    size: int
    points: tuple[tuple[str, OperatingPoint], ...]


@dataclass(frozen=True, slots=True)
class Layouts:
    """All layouts to choose from. ``exhaustive``: none was left out, so that what they prove is proven."""

    groups: tuple[AcceleratorGroup, ...]
    layouts: tuple[Layout, ...]
    exhaustive: bool


def enumerate_layouts(problem: CapacityProblem) -> Layouts:
    """Return every layout worth using, small ones first, at most MAX_LAYOUTS a group.

    Raises InvalidInputError for a model pinned on a kind that cannot serve it, and for sizes of tensor-parallel models
    of which one does not divide another.
    """
    groups = group_accelerators(problem.fleet, {demand.model for demand in problem.demands})
    chosen: list[Layout] = []
    exhaustive = True
    for index, group in enumerate(groups):
        for size in group.blocks:
            search = _LayoutSearch(problem, group, size)
            found = list(itertools.islice(search.run(), MAX_LAYOUTS + 1))
            exhaustive = exhaustive and len(found) <= MAX_LAYOUTS and search.examined <= MAX_EXAMINED
            chosen += [Layout(index, size, points) for points in found[:MAX_LAYOUTS]]
    return Layouts(groups, tuple(chosen), exhaustive)


class _LayoutSearch:
    """Grows sets of models of one size one by one, as long as they fit together, from those pinned on the group."""

    def __init__(self, problem: CapacityProblem, group: AcceleratorGroup, size: int) -> None:
        self._problem = problem
        self._group = group
        self._size = size
        self._points: dict[tuple[str, int], tuple[OperatingPoint, ...]] = {}
        self.examined = 0

    def run(self) -> Iterator[tuple[tuple[str, OperatingPoint], ...]]:
        """Yield the combinations of (model, point) worth using, those of fewer models first."""
        demanded = sorted({demand.model for demand in self._problem.demands} - self._group.traits.pinned)
        frontier = [tuple(sorted(self._group.traits.pinned))]
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
        own = models[len(self._group.traits.pinned) :]
        return len(models) < self._problem.max_models and (not own or added > own[-1])

    def _fits(self, models: tuple[str, ...]) -> bool:
        """Whether the models fit at their cheapest; if not, no larger set does."""
        choices = [self._points_of(model, len(models)) for model in models]
        if not all(choices) or len(models) > self._group.traits.slots:
            return False
        return sum(min(point.memory_bytes for point in points) for points in choices) <= self._group.traits.memory_bytes

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
        fits = sum(point.memory_bytes for point in points) <= self._group.traits.memory_bytes
        return fits and sum(point.batch for point in points) <= self._group.traits.slots

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
            fits_block = model.tensor_parallel_size == self._size
            known = self._points_of_model(model, active_models) if fits_block else ()
            self._points[name, active_models] = known
        return known

    def _points_of_model(self, model: ModelSpec, active_models: int) -> tuple[OperatingPoint, ...]:
        points = operating_points(
            self._problem,
            model,
            self._group.traits.kind,
            slots=self._group.traits.slots,
            kv_elastic=self._group.traits.kv_elastic,
            active_models=active_models,
        )
        return (*points, self._idle_point(model)) if model.name in self._group.traits.pinned else points

    def _idle_point(self, model: ModelSpec) -> OperatingPoint:
        """Return the point of a pinned replica that serves nothing: it takes its memory and one slot all the same."""
        if self._group.traits.kind not in model.speeds:
            raise InvalidInputError(
                f"models.{model.name}.pinned_on",
                "names an accelerator of a kind that the model has no speed for",
                value=self._group.traits.kind,
            )
        pool_bytes = 0 if self._group.traits.kv_elastic else model.kv_pool_bytes
        held_bytes = model.resident_share_bytes(pool_bytes)
        return OperatingPoint(1, pool_bytes, held_bytes, {})
