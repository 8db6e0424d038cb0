"""The integer grid that heuristics and model share: ticks of time and units of memory.

Demands are rounded up and capacities down, here and nowhere else. A heuristic that rounded differently from the model
would make every hint infeasible without a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from maestro.snapshot import Snapshot

_MEMORY_BITS = 24
"""Memory is counted in at most 2 to this power units (8 KiB on a device of 80 GiB)."""

_FAR = 1 << 32
"""Ticks beyond which times are all alike, an infinite deadline among them."""

_SLACK = 1e-9
"""What floating-point division may add to a whole number of ticks."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A tick of ``tick_s`` seconds and a memory unit of ``memory_unit_bytes`` bytes."""

    tick_s: float
    memory_unit_bytes: int

    @classmethod
    def suited(cls, snapshot: Snapshot, tick_s: float = 0.25) -> Grid:
        """The grid whose memory unit is the finest that keeps amounts small enough for the solver's sums."""
        largest = max((accelerator.memory_bytes for accelerator in snapshot.accelerators), default=0)
        return cls(tick_s, 1 << max(0, largest.bit_length() - _MEMORY_BITS))

    def ticks_up(self, seconds: float) -> int:
        """Whole ticks that cover ``seconds``: for durations, delays and times before which nothing may happen."""
        return math.ceil(_bounded(seconds / self.tick_s) - _SLACK)

    def ticks_down(self, seconds: float) -> int:
        """Whole ticks inside ``seconds``: for deadlines."""
        return math.floor(_bounded(seconds / self.tick_s) + _SLACK)

    def seconds(self, ticks: int) -> float:
        """The instant of a tick."""
        return ticks * self.tick_s

    def units_up(self, amount_bytes: int) -> int:
        """Whole memory units that cover a demand."""
        return -(-amount_bytes // self.memory_unit_bytes)

    def units_down(self, amount_bytes: int) -> int:
        """Whole memory units inside a capacity."""
        return amount_bytes // self.memory_unit_bytes


def _bounded(ticks: float) -> float:
    return min(max(ticks, -_FAR), _FAR)
