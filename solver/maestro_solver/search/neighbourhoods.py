"""Neighbourhoods of a schedule: which workflows' stages may move, all the others standing still.

What is resident where is always decided anew, so that a model may be loaded or evicted for the sake of what moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maestro_solver.schedule import Schedule
from maestro_solver.search.bounds import GridCosts
from maestro_solver.search.layout import Layout
from maestro_solver.shop.data import Integers, Reals

Attraction = NDArray[np.floating[Any]]
"""By workflow; what has none is not drawn."""


class Places:
    """Where and when a complete schedule has every workflow: arrays by workflow, times in ticks."""

    def __init__(self, layout: Layout, complete: Schedule) -> None:
        instance = layout.instance
        self.instance = instance
        count = len(instance.workflows)
        self.begin: Integers = np.full(count, np.iinfo(np.int64).max // 4)
        self.completion: Integers = layout.shop.least.copy()
        self.load: Reals = np.zeros((count, len(instance.accelerators)))
        """Ticks on each accelerator; shape (workflows, accelerators)."""
        self.stages: list[list[int]] = [[] for _ in range(count)]
        for position, span in complete.spans.items():
            workflow = instance.stages[position].workflow
            self.stages[workflow].append(position)
            self.begin[workflow] = min(self.begin[workflow], span.start)
            self.completion[workflow] = max(self.completion[workflow], span.end)
            option = complete.options.get(position)
            if option is not None:
                self.load[workflow, list(instance.members(option.model, option.accelerator))] += option.duration
        costs = GridCosts(layout.shop)
        self.excess: Reals = costs.at(self.completion) - costs.at(layout.shop.least)
        """What each workflow costs above its least."""


Choose = Callable[[Places, np.random.Generator], Integers]
"""Workflows in the order in which they are set free."""


def rivals(places: Places, rng: np.random.Generator) -> Integers:
    """A workflow with much to gain, and others that run on the same accelerators at the same time."""
    seed = _seed(places, rng)
    overlap = np.minimum(places.completion, places.completion[seed]) - np.maximum(places.begin, places.begin[seed])
    beside = places.load @ (places.load[seed] + 1.0) / np.maximum(places.load.sum(axis=1), 1.0)
    attraction = np.maximum(overlap, 0) * beside + 1e-9
    attraction[seed] = 0.0
    return np.concatenate([[seed], _order(attraction, rng)])


def accelerators(places: Places, rng: np.random.Generator) -> Integers:
    """The workflows that run most on two accelerators and have most to gain."""
    where = _order(places.load.sum(axis=0) + 1.0, rng)[:2]
    share = places.load[:, where].sum(axis=1) / np.maximum(places.load.sum(axis=1), 1.0)
    return _order(share * (places.excess + places.excess.mean() + 1e-9), rng)


def model(places: Places, rng: np.random.Generator) -> Integers:
    """The workflows that need one model, those first that have most to gain."""
    chosen = int(rng.integers(len(places.instance.models)))
    attraction = np.zeros(places.excess.size)
    for stage in places.instance.stages:
        if any(option.model == chosen for option in stage.options):
            attraction[stage.workflow] = places.excess[stage.workflow] + places.excess.mean() + 1e-9
    return _order(attraction, rng)


def time_window(places: Places, rng: np.random.Generator) -> Integers:
    """Workflows that are in progress around one moment."""
    moment = places.completion[_seed(places, rng)]
    distance = np.maximum(places.begin - moment, moment - places.completion)
    return _order(1.0 / (10.0 + np.maximum(distance, 0)), rng)


CHOICES: Final[Mapping[str, Choose]] = {
    "rivals": rivals,
    "accelerators": accelerators,
    "model": model,
    "time_window": time_window,
}


def stages_of(places: Places, workflows: Integers, size: int) -> frozenset[int]:
    """The stages of whole workflows in the given order until there are about ``size``, at least one workflow."""
    free: list[int] = []
    for workflow in workflows.tolist():
        more = places.stages[workflow]
        if free and len(free) + len(more) > size:
            break
        free += more
    return frozenset(free)


def _seed(places: Places, rng: np.random.Generator) -> int:
    """A workflow, drawn by what it costs above its least; now and then any."""
    return int(_order(places.excess + 0.1 * places.excess.mean() + 1e-9, rng)[0])


def _order(attraction: Attraction, rng: np.random.Generator) -> Integers:
    """Positions in random order, drawn by their attraction without replacement; those without any are left out."""
    positive = np.nonzero(attraction > 0)[0]
    draws = rng.exponential(size=positive.size) / attraction[positive]
    order: Integers = positive[np.argsort(draws)]
    return order
