"""The attempts a node knows: idempotent by id, their ends kept until acknowledged.

At most ``kept_limit`` ended attempts wait for acknowledgement. At the bound, the one that ended first is forgotten:
a scheduler that asks for it gets NOT_FOUND and has to run the stage again, so a bound that is too small costs work but
never a wrong result. Ids of forgotten attempts are remembered (at most ``kept_limit`` too), so that a late repetition
of ExecuteStage does not run a stage twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from maestro.errors import ConflictError
from maestro_node.core.refusals import UnknownAttemptError
from maestro_node.core.replica import ReplicaKey


class AttemptState(StrEnum):
    """Where an attempt is in its life."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a stage. ``fingerprint`` identifies the request, so that a reused id is noticed."""

    id: str
    replica: ReplicaKey
    reserved_bytes: int
    fingerprint: str
    state: AttemptState = AttemptState.RUNNING


class AttemptTable:
    """Attempts by id. Owned by one thread; nothing in it waits."""

    def __init__(self, kept_limit: int) -> None:
        self._kept_limit = kept_limit
        self._running: dict[str, Attempt] = {}
        self._ended: OrderedDict[str, Attempt] = OrderedDict()
        self._forgotten: OrderedDict[str, None] = OrderedDict()

    def __iter__(self) -> Iterator[Attempt]:
        """All attempts, running ones first."""
        yield from self._running.values()
        yield from self._ended.values()

    def find(self, attempt_id: str) -> Attempt:
        """The attempt; UnknownAttemptError where the node does not know it (any more)."""
        attempt = self._running.get(attempt_id) or self._ended.get(attempt_id)
        if attempt is None:
            raise UnknownAttemptError(attempt_id)
        return attempt

    def known(self, attempt_id: str, fingerprint: str) -> Attempt | None:
        """The attempt that a repeated request means, None for a new id.

        Raises ConflictError where the id was used for another request, or was acknowledged or forgotten already.
        """
        if attempt_id in self._forgotten:
            raise ConflictError(f'attempt "{attempt_id}" has ended and was acknowledged; use a new attempt id')
        attempt = self._running.get(attempt_id) or self._ended.get(attempt_id)
        if attempt is not None and attempt.fingerprint != fingerprint:
            raise ConflictError(f'attempt "{attempt_id}" was sent before with another request; use a new attempt id')
        return attempt

    def add(self, attempt: Attempt) -> None:
        """Take in a new attempt."""
        self._running[attempt.id] = attempt

    def end(self, attempt_id: str, state: AttemptState) -> tuple[str, ...]:
        """Mark a running attempt as ended; return the ids that were forgotten to keep the bound."""
        self._ended[attempt_id] = replace(self._running.pop(attempt_id), state=state)
        dropped = tuple(self._ended)[: max(0, len(self._ended) - self._kept_limit)]
        for dropped_id in dropped:
            self._forget(dropped_id)
        return dropped

    def acknowledge(self, attempt_ids: Iterable[str]) -> tuple[str, ...]:
        """Forget ended attempts and return their ids; unknown ids are ignored, ConflictError for a running one."""
        ids = tuple(attempt_ids)
        running = next((attempt_id for attempt_id in ids if attempt_id in self._running), None)
        if running is not None:
            raise ConflictError(f'attempt "{running}" still runs; wait for its end or cancel it first')
        ended = tuple(attempt_id for attempt_id in dict.fromkeys(ids) if attempt_id in self._ended)
        for attempt_id in ended:
            self._forget(attempt_id)
        return ended

    def was_forgotten(self, attempt_id: str) -> bool:
        """Whether the attempt was known once and has been acknowledged or dropped at the bound."""
        return attempt_id in self._forgotten

    def _forget(self, attempt_id: str) -> None:
        """Drop an ended attempt and remember that its id was used."""
        del self._ended[attempt_id]
        self._forgotten[attempt_id] = None
        while len(self._forgotten) > self._kept_limit:
            self._forgotten.popitem(last=False)
