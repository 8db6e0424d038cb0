"""Stages that could start but have no place in the plan, in the order in which they are to get one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, merge

from maestro.snapshot import StageKey

OrderKey = tuple[float, ...]


@dataclass(slots=True)
class _Entry:
    """A stage of the queue; ``standing``: in the queues of its models, since it does not pause (any more)."""

    order: OrderKey
    models: tuple[str, ...]
    not_before_s: float
    standing: bool = False

    def pauses_until(self, instant_s: float) -> bool:
        return not self.standing and self.not_before_s == instant_s


class ReadyQueue:
    """One sorted queue for each model, so that stages whose model is nowhere hold up nobody else.

    A stage that several models may run stands in several queues; one whose retry pauses stands in none until its
    pause is over. Adding and discarding cost a binary search and a short memory move in each queue.
    """

    def __init__(self) -> None:
        """An empty queue."""
        self._entries: dict[StageKey, _Entry] = {}
        self._by_model: dict[str, list[tuple[OrderKey, StageKey]]] = {}
        self._pauses: list[tuple[float, StageKey]] = []
        self._added: list[StageKey] = []

    def __len__(self) -> int:
        """How many stages wait here, pausing ones included."""
        return len(self._entries)

    def __iter__(self) -> Iterator[StageKey]:
        """All stages, in no order that means anything."""
        return iter(self._entries)

    def wanting(self, models: Collection[str]) -> Iterator[StageKey]:
        """The stages that one of the models may run, most wanted first. The queue is not to change meanwhile."""
        last = None
        for _, key in merge(*(self._by_model.get(model, ()) for model in models)):
            if key != last:
                yield key
            last = key

    def first(self, models: Collection[str]) -> StageKey | None:
        """The most wanted of the stages that one of the models may run."""
        heads = [queue[0] for model in models if (queue := self._by_model.get(model))]
        return min(heads)[1] if heads else None

    def count(self, model: str) -> int:
        """How many stages stand in the model's queue."""
        return len(self._by_model.get(model, ()))

    def models(self) -> list[str]:
        """The models that stages wait for."""
        return [model for model, queue in self._by_model.items() if queue]

    def order_of(self, key: StageKey) -> OrderKey | None:
        """Where a stage stands; None where it is not here."""
        entry = self._entries.get(key)
        return entry.order if entry is not None else None

    def move(self, key: StageKey, order: OrderKey) -> None:
        """Gives a stage that is here another order."""
        entry = self._entries[key]
        if order != entry.order:
            self.add(key, order, entry.models, 0.0 if entry.standing else entry.not_before_s)

    def add(self, key: StageKey, order: OrderKey, models: tuple[str, ...], not_before_s: float = 0.0) -> None:
        """Puts a stage in, or moves it to another order; it may not get a place before ``not_before_s``."""
        self.discard(key)
        entry = _Entry(order, models, not_before_s)
        self._entries[key] = entry
        self._added.append(key)
        if not_before_s > 0.0:
            heappush(self._pauses, (not_before_s, key))
        else:
            self._stand(key, entry)

    def discard(self, key: StageKey) -> None:
        """Takes a stage out, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None and entry.standing:
            for model in entry.models:
                queue = self._by_model[model]
                del queue[bisect_left(queue, (entry.order, key))]

    def take_added(self) -> list[StageKey]:
        """The stages put in since this was last asked; some may have left again."""
        added, self._added = self._added, []
        return added

    def end_pauses(self, now: float) -> None:
        """Lets the stages stand whose pause is over."""
        while self._pauses and self._pauses[0][0] <= now:
            not_before_s, key = heappop(self._pauses)
            entry = self._entries.get(key)
            if entry is not None and entry.pauses_until(not_before_s):
                self._stand(key, entry)

    def next_pause_end(self) -> float | None:
        """When the first pause is over; None where nothing pauses."""
        while self._pauses:
            not_before_s, key = self._pauses[0]
            entry = self._entries.get(key)
            if entry is not None and entry.pauses_until(not_before_s):
                return not_before_s
            heappop(self._pauses)
        return None

    def _stand(self, key: StageKey, entry: _Entry) -> None:
        entry.standing = True
        for model in entry.models:
            insort(self._by_model.setdefault(model, []), (entry.order, key))
