"""The key search's part in planning: from the portfolio's best order to better schedules, offered as they are found."""

from __future__ import annotations

from collections.abc import Callable

from maestro.plan import PlanSource
from maestro_solver.planner.candidate import judge_complete
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.incumbent import Incumbent
from maestro_solver.planner.portfolio import Start
from maestro_solver.search.layout import Layout
from maestro_solver.search.timetable import schedule_of
from maestro_solver.shop.search import Budget, Found, KeySearch

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

    def _offer(self, found: Found) -> None:
        if self._incumbent.is_better(found.cost):
            schedule = schedule_of(self._layout, found.line)
            candidate = judge_complete(self._layout.instance, schedule, PlanSource.IMPROVED, KEY_SEARCH)
            self._incumbent.offer(candidate, KEY_SEARCH)
        self._offered_s = self._clock()
