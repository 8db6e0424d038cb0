"""A step function of time in flat lists: how much of a resource is held at each tick."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

FOREVER = 1 << 60
"""A tick after everything."""


class StepProfile:
    """Amounts held over time, from tick 0 to forever.

    ``levels[i]`` is held from ``times[i]`` to ``times[i + 1]``; the last level is held forever.
    """

    __slots__ = ("levels", "times")

    def __init__(self) -> None:
        self.times = [0]
        self.levels = [0]

    def add(self, start: int, end: int, amount: int) -> None:
        """Hold ``amount`` more (or less, where it is negative) from ``start`` until ``end``."""
        if start >= end or amount == 0:
            return
        first = self._split(start)
        last = len(self.times) if end >= FOREVER else self._split(end)
        levels = self.levels
        for position in range(first, last):
            levels[position] += amount

    def earliest_fit(self, start: int, duration: int, room: int) -> int:
        """The first tick from ``start`` on from which at most ``room`` is held for ``duration``; FOREVER if none."""
        times, levels = self.times, self.levels
        position = bisect_right(times, start) - 1
        end = start + duration
        count = len(times)
        while position < count and times[position] < end:
            overfull = levels[position] > room
            position += 1
            if overfull:
                if position == count:
                    return FOREVER
                start = times[position]
                end = start + duration
        return start

    def level_at(self, time: int) -> int:
        """What is held at a tick."""
        return self.levels[bisect_right(self.times, time) - 1]

    def peaks_from(self) -> list[int]:
        """For each entry of ``times`` the most that is held from then on."""
        peaks = self.levels[:]
        for position in range(len(peaks) - 2, -1, -1):
            peaks[position] = max(peaks[position], peaks[position + 1])
        return peaks

    def _split(self, time: int) -> int:
        """The position of the step that begins at ``time``, made if there is none."""
        position = bisect_left(self.times, time)
        if position == len(self.times) or self.times[position] != time:
            self.times.insert(position, time)
            self.levels.insert(position, self.levels[position - 1])
        return position
