"""Virtual time: what happens next, and when."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class EventQueue:
    """Actions in order of their instants (seconds); those of one instant in the order they were put in."""

    def __init__(self) -> None:
        """Nothing is to happen, and it is 0 o'clock."""
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._count = 0

    def at(self, instant_s: float, action: Action) -> None:
        """Has something done at an instant, at once where that has passed."""
        self._count += 1
        heappush(self._heap, (max(instant_s, self.now), self._count, action))

    def after(self, seconds: float, action: Action) -> None:
        """Has something done after a while."""
        self.at(self.now + seconds, action)

    def step(self) -> bool:
        """Does what is next; False where nothing is left."""
        if not self._heap:
            return False
        self.now, _, action = heappop(self._heap)
        action()
        return True
