"""Neighbourhoods: which stages may move, and on which accelerators models may be loaded and evicted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.scope import Scope
from maestro_solver.core_instance.neighbourhood.state import IncumbentState
from maestro_solver.core_instance.problem import Integers

Attraction = NDArray[np.floating[Any]]
"""By workflow or by accelerator; what has none is not drawn."""

Choose = Callable[[Instance, IncumbentState, int, np.random.Generator], Scope]
"""A scope of about so many stages."""


def rivals(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """A workflow with much to gain, and others that run on the same accelerators at the same time."""
    seed = _seed(state, rng)
    return _whole(instance, [seed, *_related(state, seed, rng)], size, ())


def blockers(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """A workflow with much to gain, those that run while it waits, from then on, and residencies where it waits."""
    return _unblock(instance, state, _seed(state, rng), size, rng)


def late_and_blockers(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """The same for a workflow that is late and could be on time."""
    candidates = state.is_late & state.can_be_on_time
    if not candidates.any():
        return blockers(instance, state, size, rng)
    return _unblock(instance, state, _draw(candidates * instance.costs.late, 1, rng)[0], size, rng)


def accelerators(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """Two accelerators with their residencies, and the workflows that run most on them and have most to gain."""
    where = _draw(state.loads + 1.0, 2, rng)
    share = state.load[:, where].sum(axis=1) / np.maximum(state.load.sum(axis=1), 1.0)
    attraction = share * (state.excess + state.excess.mean() + 1e-9)
    return _whole(instance, _order(attraction, rng), size, where)


def model(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """A model, the workflows that need it, and one accelerator that holds it and one that may."""
    problem = instance.problem
    chosen = int(rng.choice(np.unique(problem.stage_model)))
    users = np.unique(problem.stage_workflow[problem.stage_model == chosen])
    attraction = np.zeros(problem.workflows)
    attraction[users] = state.excess[users] + state.excess.mean() + 1e-9
    holders = state.plan.accelerator[problem.stage_model == chosen]
    where = {int(rng.choice(holders)), int(rng.integers(problem.accelerators))}
    return _whole(instance, _order(attraction, rng), size, where)


def time_window(instance: Instance, state: IncumbentState, size: int, rng: np.random.Generator) -> Scope:
    """Workflows that are in progress around one moment, with the residencies of one accelerator."""
    moment = state.completion[_seed(state, rng)]
    distance = np.maximum(state.begin - moment, moment - state.completion)
    attraction = 1.0 / (10.0 + np.maximum(distance, 0))
    return _whole(instance, _order(attraction, rng), size, _draw(state.loads + 1.0, 1, rng))


CHOICES: Final[Mapping[str, Choose]] = {
    "rivals": rivals,
    "blockers": blockers,
    "late_and_blockers": late_and_blockers,
    "accelerators": accelerators,
    "model": model,
    "time_window": time_window,
}


def _unblock(instance: Instance, state: IncumbentState, seed: int, size: int, rng: np.random.Generator) -> Scope:
    """The seed from its first wait on, and what runs while it waits, most overlap first, from then on.

    Workflows that can be later at no cost but latency are preferred, since they can make room.
    """
    stages = instance.problem.stages_of(seed)
    since = state.released[stages]
    waits = np.nonzero(state.plan.start[stages] > since)[0]
    if waits.size == 0:
        return _whole(instance, [seed, *_related(state, seed, rng)], size, ())
    waiting = int(rng.choice(waits))
    begin, end = int(since[waiting]), int(state.plan.start[stages[waiting]])
    overlap = np.minimum(state.end, end) - np.maximum(state.plan.start, begin)
    attraction = np.zeros(instance.problem.workflows)
    np.add.at(attraction, instance.problem.stage_workflow, np.maximum(overlap, 0))
    spare = np.where(state.is_late, np.inf, instance.costs.due - state.completion)
    attraction *= np.where(spare > end - begin, 1.0, 0.3)
    attraction[seed] = 0.0
    where = {int(state.plan.accelerator[stages[waiting]]), int(rng.integers(instance.problem.accelerators))}
    return _from(instance, state, [seed, *_order(attraction, rng)], begin, size, where)


def _seed(state: IncumbentState, rng: np.random.Generator) -> int:
    """A workflow, drawn by what it costs above its least; now and then any."""
    return int(_draw(state.excess + 0.1 * state.excess.mean() + 1e-9, 1, rng)[0])


def _related(state: IncumbentState, seed: int, rng: np.random.Generator) -> Integers:
    """Other workflows: those first that overlap most with the seed in time and place."""
    overlap = np.minimum(state.completion, state.completion[seed]) - state.begin
    places = state.load @ (state.load[seed] + 1.0) / np.maximum(state.load.sum(axis=1), 1.0)
    attraction = np.maximum(overlap, 0) * places + 1e-9
    attraction[seed] = 0.0
    return _order(attraction, rng)


def _order(attraction: Attraction, rng: np.random.Generator) -> Integers:
    """Workflows in random order, drawn by their attraction without replacement; those without any are left out."""
    positive = np.nonzero(attraction > 0)[0]
    draws = rng.exponential(size=positive.size) / attraction[positive]
    order: Integers = positive[np.argsort(draws)]
    return order


def _draw(attraction: Attraction, count: int, rng: np.random.Generator) -> list[int]:
    return [int(each) for each in _order(attraction, rng)[:count]]


def _from(
    instance: Instance, state: IncumbentState, workflows: Iterable[int], begin: int, size: int, where: Iterable[int]
) -> Scope:
    """What the workflows have not ended by a tick, in the given order until there are about ``size`` stages."""
    stages: set[int] = set()
    for workflow in workflows:
        more = [stage for stage in instance.problem.stages_of(int(workflow)).tolist() if state.end[stage] > begin]
        if stages and len(stages) + len(more) > size:
            break
        stages.update(more)
    return Scope(frozenset(stages), frozenset(where))


def _whole(instance: Instance, workflows: Iterable[int], size: int, where: Iterable[int]) -> Scope:
    """Whole workflows in the given order until there are about ``size`` stages, at least one workflow."""
    stages: dict[int, None] = {}
    for workflow in workflows:
        more = instance.problem.stages_of(int(workflow)).tolist()
        if stages and len(stages) + len(more) > size:
            break
        stages.update(dict.fromkeys(more))
    return Scope(frozenset(stages), frozenset(int(each) for each in where))
