"""Where and when a stage can start earliest, given what is committed.

On one accelerator the stage's model has rows of residency in order of time. Between two rows there are two ways to
start: *attach* to the earlier row, whose weights then stay from its end on; or *load* the model anew, ready just when
the stage starts. A start that would reach into the later row grows the two together. Each way is a scan over the steps
of use that jumps past every conflict to the first time at which it can be resolved.
"""

from __future__ import annotations

from maestro_solver.core_instance.compiled import compiled_part
from maestro_solver.core_instance.problem import Integers
from maestro_solver.core_instance.shop import Shop
from maestro_solver.core_instance.timeline import (
    END,
    LOAD_START,
    MEMORY,
    NEVER,
    NEXT,
    NO_ROW,
    READY,
    SLOTS,
    TIME,
    Timeline,
    load_link_free,
    step_at,
)


@compiled_part
def earliest_attached(shop: Shop, line: Timeline, g: int, stage: int, row: int, release: int, before: int) -> int:
    """The earliest start from ``release`` on, and before ``before``, in the row or an extension of it; or NEVER."""
    duration, kv = shop.stage_duration[stage], shop.stage_kv[stage]
    weights = shop.weights[shop.stage_model[stage]]
    room = shop.memory[g] - kv
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
        j = k
        while True:
            time = steps[j, TIME]
            extra = weights if row_end <= time < next_load else 0
            if steps[j, SLOTS] >= slots or steps[j, MEMORY] + extra > room:
                break
            if j == last_step or steps[j + 1, TIME] >= end:
                return start
            j += 1
        if extra > 0 and steps[j, MEMORY] + extra > shop.memory[g]:
            return NEVER
        k = j + 1
        start = steps[k, TIME]
    return NEVER


@compiled_part
def earliest_loaded(  # noqa: PLR0913, PLR0917 - compiled code takes its state flat
    shop: Shop, line: Timeline, g: int, stage: int, previous: int, following: int, release: int, before: int
) -> int:
    """The earliest start from ``release`` on, and before ``before``, with a load between two rows; or NEVER."""
    duration, kv = shop.stage_duration[stage], shop.stage_kv[stage]
    model = shop.stage_model[stage]
    weights, load = shop.weights[model], shop.load[model]
    slots = shop.slots[g]
    steps, last_step = line.steps[g], line.step_count[g] - 1
    next_load, next_ready, next_end = _following(line.rows, following)
    start: int = max(release, load)
    if previous != NO_ROW:
        start = max(start, line.rows[previous, END] + load)
    latest = min(before, next_ready) - 1
    k = step_at(steps, last_step + 1, start - load)
    while start <= latest:
        end = start + duration
        if end > next_load and end > next_end:
            return NEVER
        free = load_link_free(line.loads[g], line.load_count[g], start - load, start, next_load)
        if free > start - load:
            start = free + load
            continue
        while k < last_step and steps[k + 1, TIME] <= start - load:
            k += 1
        j = k
        while True:
            time = steps[j, TIME]
            reach = NEVER if j == last_step else steps[j + 1, TIME]
            running = reach > start
            extra = weights if time < next_load else 0
            in_use = steps[j, MEMORY] + extra
            if in_use > shop.memory[g] and extra > 0:
                start = reach + load
                break
            if running and (in_use + kv > shop.memory[g] or steps[j, SLOTS] >= slots):
                start = reach
                break
            if reach >= end:
                return start
            j += 1
    return NEVER


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
    shop: Shop, line: Timeline, g: int, stage: int, release: int, before: int, load_penalty: int
) -> tuple[int, int, int]:
    """The best way to run the stage on an accelerator: (score, start, row); score NEVER if none is below ``before``.

    The score is the start, plus ``load_penalty`` where the model is loaded. ``row`` is the row to attach to, or, for a
    load, ``NO_ROW - 1 - previous`` with the row that the load comes after.
    """
    model = shop.stage_model[stage]
    best, best_start, best_row = before, NEVER, NO_ROW
    previous, row = NO_ROW, line.first_row[g, model]
    while True:
        start = earliest_loaded(shop, line, g, stage, previous, row, release, best - load_penalty)
        if start != NEVER:
            best, best_start, best_row = start + load_penalty, start, NO_ROW - 1 - previous
        if row == NO_ROW or line.rows[row, READY] >= best:
            break
        start = earliest_attached(shop, line, g, stage, row, release, best)
        if start != NEVER:
            best, best_start, best_row = start, start, row
        previous, row = row, line.rows[row, NEXT]
    if best_start == NEVER:
        return NEVER, NEVER, NO_ROW
    return best, best_start, best_row
