"""Taking stages off a timeline again: what they used is free, and residencies shrink to what is left in them."""

from __future__ import annotations

from maestro_solver.core_instance.compiled import compiled_part
from maestro_solver.core_instance.problem import Integers
from maestro_solver.core_instance.shop import Shop
from maestro_solver.core_instance.timeline import (
    END,
    INITIAL,
    LOAD_START,
    MEMORY,
    NEVER,
    NEXT,
    NO_ROW,
    READY,
    SLOTS,
    TIME,
    Timeline,
    change_use,
    free_row,
    insert_load,
    load_link_free,
    remove_load,
    step_at,
)


@compiled_part
def remove_stage(shop: Shop, line: Timeline, stage: int) -> int:
    """Take a stage, whose successors are gone, off the timeline; the number of loads that nobody needs any more."""
    g, start, model = line.accelerator[stage], line.start[stage], shop.stage_model[stage]
    end = start + shop.stage_duration[stage]
    line.accelerator[stage] = -1
    previous, row = NO_ROW, line.first_row[g, model]
    while line.rows[row, END] < end:
        previous, row = row, line.rows[row, NEXT]
    _release(line, g, start, end, shop.stage_kv[stage], 1)
    first_start, last_end = _use(shop, line, g, model, line.rows[row, LOAD_START], line.rows[row, END])
    if line.rows[row, INITIAL]:
        _shrink(shop, line, g, model, row, max(0, last_end))
        return 0
    if first_start == NEVER:
        _drop(shop, line, g, model, previous, row)
        return 1
    _shrink(shop, line, g, model, row, last_end)
    _load_later(shop, line, g, model, row, first_start)
    return 0


@compiled_part
def _use(shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int) -> tuple[int, int]:
    """First start and last end of the model's stages on the accelerator within a row; NEVER and -1 without any."""
    first_start, last_end = NEVER, -1
    for stage in range(line.start.size):
        if line.accelerator[stage] == g and shop.stage_model[stage] == model and begin <= line.start[stage] < end:
            first_start = min(first_start, line.start[stage])
            last_end = max(last_end, line.start[stage] + shop.stage_duration[stage])
    return first_start, last_end


@compiled_part
def _shrink(shop: Shop, line: Timeline, g: int, model: int, row: int, end: int) -> None:
    before = line.rows[row, END]
    if end < before:
        line.rows[row, END] = end
        _release(line, g, end, before, shop.weights[model], 0)


@compiled_part
def _load_later(shop: Shop, line: Timeline, g: int, model: int, row: int, ready: int) -> None:
    """Load just in time for the first use that is left, where the link is free then."""
    before, begin = line.rows[row, LOAD_START], ready - shop.load[model]
    if begin > before and load_link_free(line.loads[g], line.load_count[g], begin, ready, before) == begin:
        remove_load(line, g, row)
        insert_load(line, g, begin, ready)
        line.rows[row, LOAD_START] = begin
        line.rows[row, READY] = ready
        _release(line, g, before, begin, shop.weights[model], 0)


@compiled_part
def _drop(shop: Shop, line: Timeline, g: int, model: int, previous: int, row: int) -> None:
    begin, end, following = line.rows[row, LOAD_START], line.rows[row, END], line.rows[row, NEXT]
    remove_load(line, g, row)
    if previous == NO_ROW:
        line.first_row[g, model] = following
    else:
        line.rows[previous, NEXT] = following
    free_row(line, row)
    _release(line, g, begin, end, shop.weights[model], 0)


@compiled_part
def _release(line: Timeline, g: int, begin: int, end: int, memory: int, slots: int) -> None:
    """Free what was in use, and join the steps that no longer differ."""
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], begin, end, -memory, -slots)
    for time in (end, begin):
        if not _bounds_residency(line.rows, line.first_row[g], time):
            line.step_count[g] = _join(line.steps[g], line.step_count[g], time)


@compiled_part
def _join(steps: Integers, count: int, time: int) -> int:
    """Remove the step at a time if nothing changes there; the number of steps then."""
    k = step_at(steps, count, time)
    if k == 0 or steps[k, MEMORY] != steps[k - 1, MEMORY] or steps[k, SLOTS] != steps[k - 1, SLOTS]:
        return count
    for j in range(k, count - 1):
        steps[j, TIME] = steps[j + 1, TIME]
        steps[j, MEMORY] = steps[j + 1, MEMORY]
        steps[j, SLOTS] = steps[j + 1, SLOTS]
    return count - 1


@compiled_part
def _bounds_residency(rows: Integers, first_row: Integers, time: int) -> bool:
    """Whether a row of one accelerator begins or ends at a time; such times stay steps."""
    for model in range(first_row.size):
        row = first_row[model]
        while row != NO_ROW and rows[row, LOAD_START] <= time:
            if rows[row, LOAD_START] == time or rows[row, END] == time:
                return True
            row = rows[row, NEXT]
    return False
