"""Use of an accelerator or a replica over time, as a step function in place.

``steps[k]`` is (time, memory in use, places in use) from that time to the next step's; the last step has no end.
"""

from __future__ import annotations

from typing import Final

from maestro_solver.shop.compiled import compiled_part
from maestro_solver.shop.data import Integers

TIME: Final = 0
MEMORY: Final = 1
PLACES: Final = 2


@compiled_part
def step_at(steps: Integers, count: int, time: int) -> int:
    """The step that holds at a time."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if steps[middle, TIME] <= time:
            low = middle
        else:
            high = middle - 1
    return low


@compiled_part
def _split(steps: Integers, count: int, time: int) -> int:
    """Make a step begin at a time; the number of steps then."""
    k = step_at(steps, count, time)
    if steps[k, TIME] == time:
        return count
    for j in range(count, k, -1):
        steps[j, TIME] = steps[j - 1, TIME]
        steps[j, MEMORY] = steps[j - 1, MEMORY]
        steps[j, PLACES] = steps[j - 1, PLACES]
    steps[k + 1, TIME] = time
    return count + 1


@compiled_part
def change_use(steps: Integers, count: int, begin: int, end: int, memory: int, places: int) -> int:
    """Add to what is in use from begin to end, which become steps; the number of steps then."""
    count = _split(steps, _split(steps, count, begin), end)
    k = step_at(steps, count, begin)
    while steps[k, TIME] < end:
        steps[k, MEMORY] += memory
        steps[k, PLACES] += places
        k += 1
    return count
