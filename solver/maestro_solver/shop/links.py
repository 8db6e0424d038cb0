"""Loads over the links: the intervals that they take of one link are kept in a sorted list and do not overlap."""

from __future__ import annotations

from maestro_solver.shop.compiled import compiled_part
from maestro_solver.shop.data import Integers, Shop, Timeline


@compiled_part
def begin_load(shop: Shop, line: Timeline, g: int, model: int, begin: int) -> float:
    """Let a load take its link from ``begin`` on; what that adds to the cost."""
    link, end = shop.link[g], begin + shop.link_time[g, model]
    j = line.load_count[link]
    while j > 0 and line.loads[link, j - 1, 0] > begin:
        line.loads[link, j, 0] = line.loads[link, j - 1, 0]
        line.loads[link, j, 1] = line.loads[link, j - 1, 1]
        j -= 1
    line.loads[link, j, 0] = begin
    line.loads[link, j, 1] = end
    line.load_count[link] += 1
    line.begun[g, model] += 1
    is_wanted = line.begun[g, model] <= shop.loads_wanted[g, model]
    return float(shop.load_cost[g, model] - (shop.unloaded_cost if is_wanted else 0.0))


@compiled_part
def end_load(shop: Shop, line: Timeline, g: int, model: int, begin: int) -> float:
    """Take back the load that begins then; what that adds to the cost, less than 0 where it saves."""
    link, end = shop.link[g], begin + shop.link_time[g, model]
    count = line.load_count[link]
    j = 0
    while line.loads[link, j, 0] != begin or line.loads[link, j, 1] != end:
        j += 1
    for i in range(j, count - 1):
        line.loads[link, i, 0] = line.loads[link, i + 1, 0]
        line.loads[link, i, 1] = line.loads[link, i + 1, 1]
    line.load_count[link] = count - 1
    line.begun[g, model] -= 1
    was_wanted = line.begun[g, model] < shop.loads_wanted[g, model]
    return float((shop.unloaded_cost if was_wanted else 0.0) - shop.load_cost[g, model])


@compiled_part
def link_free(loads: Integers, count: int, begin: int, end: int, ignored: int) -> int:
    """``begin`` if no load but the one that starts at ``ignored`` overlaps; else the end of the last that does."""
    free = begin
    for j in range(count):
        if loads[j, 0] >= end:
            break
        if loads[j, 1] > begin and loads[j, 0] != ignored:
            free = max(free, loads[j, 1])
    return free
