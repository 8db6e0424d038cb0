"""Where and when a stage can start earliest, given what is committed.

On one accelerator the stage's model has rows of residency in order of time. Between two rows there are two ways to
start: *attach* to the earlier row, whose weights then stay from its end on; or *load* the model anew, ready just when
the stage starts. A start that would reach into the later row grows the two together. Each way is a scan over the steps
of use that jumps past every conflict to the first time at which it can be resolved. Where the batch or the pool of the
replica binds, its own steps are scanned in the same way, in turns with the accelerator's. The further accelerators of a
tensor-parallel replica are asked about each start that is found on the first.
"""

from __future__ import annotations

from typing import Final

from maestro_solver.shop.agreement import attached_to_peers, loaded_on_peers
from maestro_solver.shop.compiled import compiled_part, constant
from maestro_solver.shop.data import CANNOT, FAR, NEVER, Integers, Shop, Timeline
from maestro_solver.shop.links import link_free
from maestro_solver.shop.members import has_peers
from maestro_solver.shop.rows import END, INITIAL, LOAD_START, NEXT, NO_ROW, READY
from maestro_solver.shop.steps import MEMORY, PLACES, TIME, step_at

_NO_STEP: Final = constant(-1)


@compiled_part
def earliest_attached(shop: Shop, line: Timeline, option: int, row: int, release: int, before: int) -> int:
    """The earliest start from ``release`` on, and before ``before``, in the row or an extension of it; or NEVER."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    duration, weights = shop.option_duration[option], shop.held[g, m]
    room = shop.memory[g] - shop.option_kv[option]
    slots = shop.slots[g]
    steps, last_step = line.steps[g], line.step_count[g] - 1
    row_end = line.rows[row, END]
    next_load, next_ready, next_end = _following(line.rows, line.rows[row, NEXT])
    start: int = max(release, line.rows[row, READY])
    latest = min(before, next_ready) - 1
    k = step_at(steps, last_step + 1, start)
    if start > row_end and not _has_room(
        steps, last_step + 1, row_end, min(start, next_load), shop.memory[g] - weights
    ):
        return NEVER
    while start <= latest:
        end = start + duration
        if end > next_load and end > next_end:
            return NEVER
        j = _first_conflict(steps, last_step, k, end, room, slots, weights, row_end, next_load)
        if j == _NO_STEP:
            free = _replica_free(shop, line, option, start)
            if free == start and has_peers(shop.peers, g, m):
                free = attached_to_peers(shop, line, option, row, start)
            if free == start:
                return start
            start, k = free, step_at(steps, last_step + 1, free)
            if not _has_room(steps, last_step + 1, row_end, min(start, next_load), shop.memory[g] - weights):
                return NEVER
        else:
            if row_end <= steps[j, TIME] < next_load and steps[j, MEMORY] + weights > shop.memory[g]:
                return NEVER
            k = j + 1
            start = steps[k, TIME]
    return NEVER


@compiled_part
def _first_conflict(  # noqa: PLR0913, PLR0917 - compiled code takes its state flat
    steps: Integers,
    last_step: int,
    k: int,
    end: int,
    room: int,
    slots: int,
    weights: int,
    held_from: int,
    held_until: int,
) -> int:
    """The first step from ``k`` until ``end`` without a place, or with more than ``room`` in use; or _NO_STEP.

    From ``held_from`` until ``held_until`` the weights are to be held on top of what is in use.
    """
    while True:
        extra = weights if held_from <= steps[k, TIME] < held_until else 0
        if steps[k, PLACES] >= slots or steps[k, MEMORY] + extra > room:
            return k
        if k == last_step or steps[k + 1, TIME] >= end:
            return _NO_STEP
        k += 1


@compiled_part
def earliest_loaded(
    shop: Shop, line: Timeline, option: int, previous: int, following: int, release: int, before: int
) -> int:
    """The earliest start from ``release`` on, and before ``before``, with a load between two rows; or NEVER."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    duration, load, link_time = shop.option_duration[option], shop.load[g, m], shop.link_time[g, m]
    steps, last_step = line.steps[g], line.step_count[g] - 1
    loads, load_count = line.loads[shop.link[g]], line.load_count[shop.link[g]]
    next_load, next_ready, next_end = _following(line.rows, following)
    start: int = max(release, shop.first_load[g, m] + load)
    if previous != NO_ROW:
        start = max(start, line.rows[previous, END] + load)
    latest = min(before, next_ready) - 1
    if load == CANNOT or start > latest:
        return NEVER
    k = step_at(steps, last_step + 1, start - load)
    while start <= latest:
        end = start + duration
        if end > next_load and end > next_end:
            return NEVER
        free = link_free(loads, load_count, start - load, start - load + link_time, next_load)
        if free > start - load:
            start = free + load
            continue
        while k < last_step and steps[k + 1, TIME] <= start - load:
            k += 1
        free = _device_free(shop, steps, last_step, k, option, start, next_load)
        if free == start:
            free = _replica_free(shop, line, option, start)
        if free == start and has_peers(shop.peers, g, m):
            free = loaded_on_peers(shop, line, option, following, start)
        if free == start:
            return start
        start = free
    return NEVER


@compiled_part
def _device_free(shop: Shop, steps: Integers, last_step: int, k: int, option: int, start: int, held_until: int) -> int:
    """``start`` if the accelerator holds a load before it and the stage from it on; else the next start worth a try.

    ``k`` is the step in which the load begins. From ``held_until`` on the weights are there anyway.
    """
    g, m = shop.option_accelerator[option], shop.option_model[option]
    weights, kv, capacity = shop.held[g, m], shop.option_kv[option], shop.memory[g]
    end = start + shop.option_duration[option]
    kept_until = FAR if shop.pinned[g, m] else end
    while True:
        time = steps[k, TIME]
        reach = NEVER if k == last_step else steps[k + 1, TIME]
        extra = weights if time < held_until else 0
        in_use = steps[k, MEMORY] + extra
        if in_use > capacity and extra > 0:
            return int(reach + shop.load[g, m])
        running = reach > start and time < end
        if running and (in_use + kv > capacity or steps[k, PLACES] >= shop.slots[g]):
            return reach
        if reach >= kept_until:
            return start
        k += 1


@compiled_part
def _replica_free(shop: Shop, line: Timeline, option: int, start: int) -> int:
    """The first tick from ``start`` on from which the replica has a place in its batch and room in its pool."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    if shop.limited[g, m] == 0:
        return start
    steps, count = line.replica_steps[g, m], line.replica_step_count[g, m]
    batch, room = shop.batch[g, m], shop.pool[g, m] - shop.option_pool[option]
    k = step_at(steps, count, start)
    end = start + shop.option_duration[option]
    while k < count and steps[k, TIME] < end:
        if steps[k, PLACES] >= batch or steps[k, MEMORY] > room:
            if k + 1 == count:
                return NEVER
            start = steps[k + 1, TIME]
            end = start + shop.option_duration[option]
        k += 1
    return start


@compiled_part
def _following(rows: Integers, row: int) -> tuple[int, int, int]:
    """Start of the load, ready time and end of a row; NEVER where there is none."""
    if row == NO_ROW:
        return NEVER, NEVER, NEVER
    return rows[row, LOAD_START], rows[row, READY], rows[row, END]


@compiled_part
def _has_room(steps: Integers, count: int, begin: int, end: int, limit: int) -> bool:
    """Whether memory in use stays within the limit from begin to end."""
    if begin >= end:
        return True
    k = step_at(steps, count, begin)
    while k < count and steps[k, TIME] < end:
        if steps[k, MEMORY] > limit:
            return False
        k += 1
    return True


@compiled_part
def earliest_start(
    shop: Shop, line: Timeline, option: int, release: int, before: int, load_penalty: int
) -> tuple[int, int, int]:
    """The best way to run a stage by one of its options: (score, start, row); score NEVER if none is below ``before``.

    The score is the start, plus ``load_penalty`` where the model is loaded. ``row`` is the row to attach to, or, for a
    load, ``NO_ROW - 1 - previous`` with the row that the load comes after.
    """
    best, best_start, best_row = before, NEVER, NO_ROW
    previous, row = NO_ROW, line.first_row[shop.option_accelerator[option], shop.option_model[option]]
    while True:
        if row == NO_ROW or line.rows[row, INITIAL] == 0:  # nothing comes before what is there at the start
            start = earliest_loaded(shop, line, option, previous, row, release, best - load_penalty)
            if start != NEVER:
                best, best_start, best_row = start + load_penalty, start, NO_ROW - 1 - previous
        if row == NO_ROW or line.rows[row, READY] >= best:
            break
        start = earliest_attached(shop, line, option, row, release, best)
        if start != NEVER:
            best, best_start, best_row = start, start, row
        previous, row = row, line.rows[row, NEXT]
    if best_start == NEVER:
        return NEVER, NEVER, NO_ROW
    return best, best_start, best_row
