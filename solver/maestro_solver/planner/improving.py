"""The key search's part in planning: from the portfolio's best order to better schedules, offered as they are found."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from maestro.plan import PlanSource
from maestro_solver.planner.candidate import judge_complete
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.incumbent import Incumbent
from maestro_solver.planner.portfolio import Start
from maestro_solver.search.layout import Layout
from maestro_solver.search.timetable import schedule_of
from maestro_solver.shop.decoder import decode_whole
from maestro_solver.shop.search import Budget, Found, KeySearch
from maestro_solver.shop.timeline import like, timeline_at

KEY_SEARCH = "key_search"

_OFFER_EVERY = 10.0
"""What was found is offered no more often than after so many times as long as an offer takes."""

_MOVES_PER_S = 1000
"""Moves for each second of the limit where the clock does not count."""


class KeyImprovement:
    """One run of the key search on a layout, from a start until an instant of the clock."""

    def __init__(
        self, layout: Layout, config: PlannerConfig, clock: Callable[[], float], incumbent: Incumbent, offer_s: float
    ) -> None:
        """``offer_s`` is about how long it takes to turn a timeline into a candidate and to check it."""
        self._layout = layout
        self._config = config
        self._clock = clock
        self._incumbent = incumbent
        self._offer_s = offer_s
        self._offered_s = clock()

    def place(self, start: Start, part: str) -> float:
        """Offer the schedule of the start itself, of which the cost is given; its gain is that of ``part``."""
        shop = self._layout.shop
        line, completion = timeline_at(like(shop, 1), 0), np.zeros(shop.deadline.size, dtype=np.int64)
        cost = decode_whole(shop, line, start.order, start.patience, completion, math.inf)
        self._offer(Found(line, cost, 0), part)
        return cost

    def run(self, start: Start, until_s: float) -> None:
        """Search, and offer what is better than the incumbent; the last offer is made at ``until_s``."""
        deterministic = self._config.deterministic
        workers = 1 if deterministic else self._config.workers
        moves = int(_MOVES_PER_S * self._config.limit_s) if deterministic else None
        search = KeySearch(self._layout.shop, start.order, start.patience, self._config.seed, workers)
        self._offer(search.run(Budget(self._clock, until_s, moves), self._offer_sometimes))

    def _offer_sometimes(self, found: Found) -> None:
        if self._clock() >= self._offered_s + _OFFER_EVERY * self._offer_s:
            self._offer(found)

    def _offer(self, found: Found, part: str = KEY_SEARCH) -> None:
        if self._incumbent.is_better(found.cost):
            schedule = schedule_of(self._layout, found.line)
            candidate = judge_complete(self._layout.instance, schedule, PlanSource.IMPROVED, part)
            self._incumbent.offer(candidate, part)
        self._offered_s = self._clock()
