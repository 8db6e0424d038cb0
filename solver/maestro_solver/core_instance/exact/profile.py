"""What is in use on each accelerator whatever the model decides, as few steps as possible."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator


class FixedUse:
    """Memory and slots in use over time, per accelerator."""

    def __init__(self, accelerators: int) -> None:
        self._memory: list[dict[int, int]] = [defaultdict(int) for _ in range(accelerators)]
        self._slots: list[dict[int, int]] = [defaultdict(int) for _ in range(accelerators)]

    def hold(self, accelerator: int, begin: int, end: int, memory: int, slots: int) -> None:
        """Use memory and slots from begin to end."""
        if begin < end:
            self._memory[accelerator][begin] += memory
            self._memory[accelerator][end] -= memory
            self._slots[accelerator][begin] += slots
            self._slots[accelerator][end] -= slots

    def memory(self, accelerator: int) -> Iterator[tuple[int, int, int]]:
        """Steps (begin, end, memory in use) where any is."""
        return _steps(self._memory[accelerator])

    def slots(self, accelerator: int) -> Iterator[tuple[int, int, int]]:
        """Steps (begin, end, slots in use) where any is."""
        return _steps(self._slots[accelerator])


def _steps(changes: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    level, since = 0, 0
    for time in sorted(changes):
        if changes[time] == 0:
            continue
        if level > 0 and time > since:
            yield since, time, level
        level, since = level + changes[time], time
