"""Stages that could start but have no place in the plan, in the order in which they are to get one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from maestro.snapshot import StageKey

OrderKey = tuple[float, ...]


class ReadyQueue:
    """A sorted queue of stages. Adding and discarding cost a binary search and a short memory move."""

    def __init__(self) -> None:
        """An empty queue."""
        self._sorted: list[tuple[OrderKey, StageKey]] = []
        self._order: dict[StageKey, OrderKey] = {}

    def __len__(self) -> int:
        """How many stages wait here."""
        return len(self._sorted)

    def __iter__(self) -> Iterator[StageKey]:
        """The stages, most wanted first; the queue may change meanwhile."""
        return iter([key for _, key in self._sorted])

    def first(self, count: int) -> list[StageKey]:
        """At most ``count`` stages, most wanted first."""
        return [key for _, key in self._sorted[:count]]

    def add(self, key: StageKey, order: OrderKey) -> None:
        """Puts a stage in, or moves it to another order."""
        self.discard(key)
        self._order[key] = order
        insort(self._sorted, (order, key))

    def discard(self, key: StageKey) -> None:
        """Takes a stage out, if it is there."""
        order = self._order.pop(key, None)
        if order is not None:
            del self._sorted[bisect_left(self._sorted, (order, key))]
