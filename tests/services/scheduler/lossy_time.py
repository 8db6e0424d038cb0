"""Virtual time: what is to happen, in the order of its instants; nothing waits for a real clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

START_S = 1_000_000.0
"""The first instant, seconds since the epoch."""


class VirtualTime:
    """A queue of things to do. What is due at the same instant happens in the order in which it was asked for."""

    def __init__(self) -> None:
        self.now = START_S
        self.steps = 0
        self._asked = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Has it done after a while."""
        self._asked += 1
        heappush(self._queue, (self.now + max(0.0, delay_s), self._asked, what))

    def run(self, until_s: float) -> None:
        """Does all that is due up to an instant, which is the present then."""
        while self._queue and self._queue[0][0] <= until_s:
            at_s, _, what = heappop(self._queue)
            self.now = at_s
            self.steps += 1
            what()
        self.now = until_s
