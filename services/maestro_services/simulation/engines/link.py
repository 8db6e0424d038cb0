"""A link that transfers share: a node's disk, or the way from its host memory to its devices."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_ROUNDING_BYTES = 1024.0

Transfer = TypeVar("Transfer", bound=Hashable)


class SharedLink(Generic[Transfer]):
    """Transfers in progress, each at an equal share of the bandwidth."""

    def __init__(self, bytes_per_s: float) -> None:
        """An idle link."""
        self._bytes_per_s = bytes_per_s
        self._left: dict[Transfer, float] = {}
        self._now_s = 0.0

    def begin(self, transfer: Transfer, size_bytes: float, now_s: float) -> None:
        """A transfer begins."""
        self._advance(now_s)
        self._left[transfer] = size_bytes

    def cancel(self, transfer: Transfer, now_s: float) -> None:
        """A transfer is given up, if it is here."""
        if transfer in self._left:
            self._advance(now_s)
            del self._left[transfer]

    def advance(self, now_s: float) -> list[Transfer]:
        """Lets time pass up to the next end at most; the transfers that have ended leave."""
        self._advance(now_s)
        ended = [transfer for transfer, left in self._left.items() if left <= _ROUNDING_BYTES]
        for transfer in ended:
            del self._left[transfer]
        return ended

    def next_end_at_s(self) -> float | None:
        """When the next transfer ends if none comes or goes; None where there is none."""
        if not self._left:
            return None
        return self._now_s + max(0.0, min(self._left.values())) * len(self._left) / self._bytes_per_s

    def _advance(self, now_s: float) -> None:
        if self._left and now_s > self._now_s:
            moved = (now_s - self._now_s) * self._bytes_per_s / len(self._left)
            for transfer in self._left:
                self._left[transfer] -= moved
        self._now_s = max(self._now_s, now_s)
