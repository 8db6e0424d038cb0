"""The key search: annealing from an order's schedule, in one or more threads, until the clock says stop.

The threads anneal for themselves for a round, then those that are well behind take over the best schedule. Compiled
code releases the interpreter's lock, so threads are enough.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from maestro_solver.shop.annealing import BEST, adopt, new_annealer
from maestro_solver.shop.data import Integers, Shop, Timeline
from maestro_solver.shop.drafting import search_keys, start_drafts
from maestro_solver.shop.timeline import timeline_at

HOT_SHARE: Final = 0.02
"""Temperature at the start, as a share of what one workflow of mean weight costs at most for being late."""

COLD_SHARE: Final = 0.001
"""Temperature at the end, likewise."""

DRAFT_SHARE: Final = 0.4
"""Share of the budget in which keys are searched; then the best schedule is refined."""

ROUNDS: Final = 10
"""How often the threads meet; while they draft, each goes its own way."""

SLICE_S: Final = 0.015
"""How long compiled code runs between two looks at the clock."""

MOST_MOVES_AT_ONCE: Final = 200
"""How many moves are tried between two steps of the temperature where moves are counted."""

_SEED_STEP: Final = 1_000_003


class Found(NamedTuple):
    """The best schedule of a search, its cost (infinity if there is none), and the number of moves tried."""

    line: Timeline
    cost: float
    moves: int


class Budget:
    """What a search may spend: until an instant of the caller's clock, or a number of moves whatever the clock says."""

    def __init__(self, clock: Callable[[], float], stop_at_s: float, moves: int | None = None) -> None:
        """``stop_at_s`` is on the scale of ``clock``; it is ignored where ``moves`` is given."""
        self._clock = clock
        self._began_s = clock()
        self._stop_at_s = stop_at_s
        self._moves = moves

    def progress(self, moves: int) -> float:
        """The share that is spent, from 0 to 1; at 1 the search ends."""
        if self._moves is not None:
            return min(1.0, moves / max(1, self._moves))
        span_s = self._stop_at_s - self._began_s
        return min(1.0, (self._clock() - self._began_s) / span_s) if span_s > 0 else 1.0

    def slice(self, moves: int) -> int:
        """How many moves to try before the next look."""
        if self._moves is not None:
            return max(1, min(self._moves // ROUNDS, MOST_MOVES_AT_ONCE))
        spent_s = self._clock() - self._began_s
        left_s = self._stop_at_s - self._began_s - spent_s
        each_s = spent_s / moves if moves else SLICE_S
        return max(1, int(min(SLICE_S, left_s) / max(each_s, 1e-7)))


class KeySearch:
    """A search that can be run on, in parts; the best schedule so far is that of :meth:`best`."""

    def __init__(self, shop: Shop, order: Integers, patience: float, seed: int, workers: int) -> None:
        """Start every worker from an order's schedule. Equal seeds and numbers of workers give equal searches."""
        self._shop = shop
        self._searches = [new_annealer(shop) for _ in range(workers)]
        self._seed = seed
        self._slices = [0] * workers
        self._moves = [0] * workers
        self._scale = _lateness_scale(shop)
        for worker, search in enumerate(self._searches):
            start_drafts(self._shop, search, order, patience, self._seed_of(worker))

    def run(self, budget: Budget, on_round: Callable[[Found], None] | None = None) -> Found:
        """Anneal until the budget is spent; the best schedule so far, which ``on_round`` is told of now and then."""
        with ThreadPoolExecutor(len(self._searches)) as pool:
            for turn in range(ROUNDS):
                until = (turn + 1) / ROUNDS
                list(pool.map(lambda worker, until=until: self._work(worker, budget, until), self._workers()))
                if until >= DRAFT_SHARE:
                    self._share_best()
                if on_round is not None:
                    on_round(self.best())
        return self.best()

    def best(self) -> Found:
        """The best schedule of all workers."""
        search = min(self._searches, key=lambda search: float(search.cost[BEST]))
        return Found(timeline_at(search.lines, BEST), float(search.cost[BEST]), sum(self._moves))

    def _workers(self) -> range:
        return range(len(self._searches))

    def _work(self, worker: int, budget: Budget, until: float) -> None:
        """One worker's part of a round, a slice at a time."""
        while self._shop.deadline.size and (progress := budget.progress(self._moves[worker])) < until:
            moves = budget.slice(self._moves[worker])
            temperature = self._scale * HOT_SHARE * (COLD_SHARE / HOT_SHARE) ** progress
            drafting = progress < DRAFT_SHARE
            search_keys(self._shop, self._searches[worker], drafting, moves, temperature, self._seed_of(worker))
            self._moves[worker] += moves
            self._slices[worker] += 1

    def _seed_of(self, worker: int) -> int:
        """The seed of the worker's next slice."""
        return (self._seed * _SEED_STEP + worker * 7919 + self._slices[worker]) % 2**32

    def _share_best(self) -> None:
        """Let every worker go on from the best schedule of all, unless its own current one is as good."""
        leader = min(self._searches, key=lambda search: float(search.cost[BEST]))
        for search in self._searches:
            adopt(leader, search)


def _lateness_scale(shop: Shop) -> float:
    """What a workflow of mean weight costs at most for being late, or its latency where lateness costs nothing."""
    if shop.deadline.size == 0:
        return 1e-6
    lateness = float(shop.late_cost.mean() + shop.tardy_cost.mean() * shop.tardy_cap)
    path = float(shop.stage_tail.mean()) if shop.stage_tail.size else 0.0
    return max(lateness if lateness > 0 else float(shop.latency_cost.mean()) * path, 1e-6)
