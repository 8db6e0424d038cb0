"""The search over priority keys: move a few workflows in the order, decode everything, keep what is better.

The key of a workflow is the deadline that the search pretends it has; a stage's key is that less the longest path from
it to the end, so workflows interleave by latest start. A workflow that is not to be saved has its key behind all
others. A decode costs milliseconds, yet changes who is saved, which moving a few workflows on a finished schedule
rarely does: this search drafts, and annealing refines.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from maestro_solver.shop.annealing import (
    BEHIND,
    BEST,
    CANDIDATE,
    CURRENT,
    FIRST,
    LEAST_GAIN,
    Annealer,
    anneal,
    keep,
    most_to_gain,
    some_patience,
)
from maestro_solver.shop.compiled import compiled, compiled_part
from maestro_solver.shop.data import Integers, Shop
from maestro_solver.shop.decoder import decode_whole
from maestro_solver.shop.timeline import timeline_at

MOST_MOVED: Final = 6
"""The largest number of workflows whose keys one draft changes."""

_LEAST_SHIFT: Final = 10.0
_SHIFT_DECADES: Final = 2.0
"""Shifts are drawn at scales from ten ticks to this many powers of ten more."""


@compiled
def start_drafts(shop: Shop, search: Annealer, order: Integers, patience: float, seed: int) -> None:
    """Make an order's schedule the best one, and that of the deadlines, with the hopeless behind, the current draft."""
    np.random.seed(seed)
    line, completion = timeline_at(search.lines, BEST), search.completion[BEST]
    search.cost[BEST] = decode_whole(shop, line, order, patience, completion, np.inf)
    for workflow in range(shop.least.size):
        hopeless = shop.least[workflow] > shop.deadline[workflow]
        search.wanted[CURRENT, workflow] = shop.deadline[workflow] + (BEHIND if hopeless else 0.0)
        search.wanted[CANDIDATE, workflow] = search.wanted[CURRENT, workflow]
    _decode_wanted(shop, search, np.inf)
    keep(search, CANDIDATE, CURRENT)
    _note_best(search)


@compiled
def search_keys(shop: Shop, search: Annealer, drafting: bool, moves: int, temperature: float, seed: int) -> None:
    """Try that many moves, of drafts or of refinement; equal seeds and states give equal results."""
    np.random.seed(seed)
    if drafting:
        draft(shop, search, moves, temperature)
    else:
        anneal(shop, search, moves, temperature)


@compiled_part
def draft(shop: Shop, search: Annealer, moves: int, temperature: float) -> None:
    """Try that many changes of keys."""
    for _ in range(moves):
        limit = search.cost[CURRENT] - temperature * np.log(1.0 - np.random.random())
        search.wanted[CANDIDATE] = search.wanted[CURRENT]
        for _ in range(1 + np.random.randint(MOST_MOVED)):
            _move(shop, search)
        _decode_wanted(shop, search, limit)
        if search.cost[CANDIDATE] <= limit:
            search.wanted[CURRENT] = search.wanted[CANDIDATE]
            keep(search, CANDIDATE, CURRENT)
            _note_best(search)


@compiled_part
def _note_best(search: Annealer) -> None:
    if search.cost[CURRENT] < search.cost[BEST] - LEAST_GAIN:
        keep(search, CURRENT, BEST)


@compiled_part
def _move(shop: Shop, search: Annealer) -> None:
    """Change one workflow's key: put it behind all others or bring it back, or shift it."""
    wanted = search.wanted[CANDIDATE]
    workflow = most_to_gain(shop, search, CURRENT, 1 + np.random.randint(3))
    shift = _LEAST_SHIFT * 10.0 ** (_SHIFT_DECADES * np.random.random()) * np.random.standard_normal()
    late = search.completion[CURRENT, workflow] > shop.deadline[workflow]
    if wanted[workflow] >= BEHIND / 2:
        wanted[workflow] = shop.deadline[workflow] + shift
    elif late and np.random.random() < 0.5:
        wanted[workflow] += BEHIND
    else:
        wanted[workflow] += shift


@compiled_part
def _decode_wanted(shop: Shop, search: Annealer, limit: float) -> None:
    line, completion = timeline_at(search.lines, CANDIDATE), search.completion[CANDIDATE]
    for stage in range(search.key.size):
        key = search.wanted[CANDIDATE, shop.stage_workflow[stage]] - shop.stage_tail[stage]
        search.key[stage] = key - FIRST * shop.stage_first[stage]
    order = np.argsort(search.key, kind="mergesort")
    search.cost[CANDIDATE] = decode_whole(shop, line, order, some_patience(), completion, limit)
