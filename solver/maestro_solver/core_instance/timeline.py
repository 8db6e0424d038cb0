"""What is committed on the accelerators over time: memory and slots in use, residencies, loads.

A residency is kept lazily: its row ends with the last stage that has been placed inside it, and memory after that end
is free. Placing a later stage either extends a row, if the weights fit all the way, or loads the model anew; a model
that nothing extends is thereby evicted where that is best for whoever needs the room. So a residency never holds
memory for nothing, and stages are inserted into earlier gaps without a decision about evictions to repeat.

Usage is a step function per accelerator: ``steps[g, k]`` is (time, memory in use, slots in use) from that time to the
next step's; the last step is empty and has no end. A row ends and begins on steps, which are never merged.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from maestro_solver.core_instance.compiled import compiled, compiled_part, constant
from maestro_solver.core_instance.problem import CoreProblem, Integers
from maestro_solver.core_instance.shop import Shop

NEVER: Final = constant(2**60)
NO_ROW: Final = constant(-1)

TIME: Final = 0
MEMORY: Final = 1
SLOTS: Final = 2

NEXT: Final = 0
LOAD_START: Final = 1
READY: Final = 2
END: Final = 3
INITIAL: Final = 4


class Timeline(NamedTuple):
    """What has been committed; arrays are sized for the worst case and filled from the front.

    ``steps`` (accelerators, steps, 3) with ``step_count``; ``rows`` (rows, 5), chained by NEXT in order of time from
    ``first_row[accelerator, model]``, with ``row_count`` the number of rows ever used and the first free one among
    them; ``loads`` (accelerators, loads, 2), the sorted (begin, end) of the loads, with ``load_count``;
    ``accelerator`` and ``start`` by stage.
    """

    steps: Integers
    step_count: Integers
    rows: Integers
    row_count: Integers
    first_row: Integers
    loads: Integers
    load_count: Integers
    accelerator: Integers
    start: Integers


def empty_timelines(problem: CoreProblem, count: int) -> Timeline:
    """Room for ``count`` timelines, stacked along the first axis of every array; pages are touched only when used."""
    stages, accelerators, models = problem.stages, problem.accelerators, problem.models
    steps = 3 * stages + 2
    rows = stages + int(problem.initially_resident.sum()) + 1
    return Timeline(
        steps=np.empty((count, accelerators, steps, 3), dtype=np.int64),
        step_count=np.empty((count, accelerators), dtype=np.int64),
        rows=np.empty((count, rows, 5), dtype=np.int64),
        row_count=np.empty((count, 2), dtype=np.int64),
        first_row=np.empty((count, accelerators, models), dtype=np.int64),
        loads=np.empty((count, accelerators, stages + 1, 2), dtype=np.int64),
        load_count=np.empty((count, accelerators), dtype=np.int64),
        accelerator=np.empty((count, stages), dtype=np.int64),
        start=np.empty((count, stages), dtype=np.int64),
    )


@compiled
def timeline_at(stack: Timeline, index: int) -> Timeline:
    """One timeline of a stack, as views."""
    return Timeline(
        stack.steps[index],
        stack.step_count[index],
        stack.rows[index],
        stack.row_count[index],
        stack.first_row[index],
        stack.loads[index],
        stack.load_count[index],
        stack.accelerator[index],
        stack.start[index],
    )


@compiled_part
def clear(shop: Shop, line: Timeline) -> None:
    """Nothing placed: one empty step an accelerator, and the initial rows, which end at once until they are used."""
    line.row_count[0] = 0
    line.row_count[1] = NO_ROW
    for stage in range(line.start.size):
        line.accelerator[stage] = -1
        line.start[stage] = -1
    for g in range(shop.memory.size):
        line.load_count[g] = 0
        line.step_count[g] = 1
        line.steps[g, 0, TIME] = 0
        line.steps[g, 0, MEMORY] = 0
        line.steps[g, 0, SLOTS] = 0
        for m in range(shop.weights.size):
            line.first_row[g, m] = NO_ROW
            if shop.initially_resident[g, m]:
                line.first_row[g, m] = _new_row(line, NO_ROW, 0, 0, 0, 1)


@compiled_part
def copy(source: Timeline, target: Timeline) -> None:
    """Make the target equal to the source; costs what is filled, not what there is room for."""
    _copy_row(source.step_count, target.step_count, source.step_count.size)
    _copy_row(source.load_count, target.load_count, source.load_count.size)
    _copy_row(source.row_count, target.row_count, source.row_count.size)
    _copy_row(source.accelerator, target.accelerator, source.accelerator.size)
    _copy_row(source.start, target.start, source.start.size)
    _copy_rows(source.rows, target.rows, source.row_count[0])
    _copy_rows(source.first_row, target.first_row, source.first_row.shape[0])
    for g in range(source.step_count.size):
        _copy_rows(source.steps[g], target.steps[g], source.step_count[g])
        _copy_rows(source.loads[g], target.loads[g], source.load_count[g])


@compiled_part
def _copy_row(source: Integers, target: Integers, count: int) -> None:
    for i in range(count):
        target[i] = source[i]


@compiled_part
def _copy_rows(source: Integers, target: Integers, count: int) -> None:
    for i in range(count):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@compiled_part
def _new_row(line: Timeline, following: int, load_start: int, ready: int, end: int, initial: int) -> int:
    row: int = line.row_count[1]
    if row == NO_ROW:
        row = line.row_count[0]
        line.row_count[0] = row + 1
    else:
        line.row_count[1] = line.rows[row, NEXT]
    line.rows[row, NEXT] = following
    line.rows[row, LOAD_START] = load_start
    line.rows[row, READY] = ready
    line.rows[row, END] = end
    line.rows[row, INITIAL] = initial
    return row


@compiled_part
def free_row(line: Timeline, row: int) -> None:
    """Let the next new row take this one's place."""
    line.rows[row, NEXT] = line.row_count[1]
    line.row_count[1] = row


@compiled_part
def step_at(steps: Integers, count: int, time: int) -> int:
    """The step of one accelerator that holds at a time."""
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
        steps[j, SLOTS] = steps[j - 1, SLOTS]
    steps[k + 1, TIME] = time
    return count + 1


@compiled_part
def change_use(steps: Integers, count: int, begin: int, end: int, memory: int, slots: int) -> int:
    """Add to the use of one accelerator from begin to end, which become steps; the number of steps then."""
    count = _split(steps, _split(steps, count, begin), end)
    k = step_at(steps, count, begin)
    while steps[k, TIME] < end:
        steps[k, MEMORY] += memory
        steps[k, SLOTS] += slots
        k += 1
    return count


@compiled_part
def hold_weights(shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int) -> None:
    """Take the memory of the model's weights from begin to end."""
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], begin, end, shop.weights[model], 0)


@compiled_part
def insert_load(line: Timeline, g: int, begin: int, end: int) -> None:
    """Take the load link from begin to end."""
    j = line.load_count[g]
    while j > 0 and line.loads[g, j - 1, 0] > begin:
        line.loads[g, j, 0] = line.loads[g, j - 1, 0]
        line.loads[g, j, 1] = line.loads[g, j - 1, 1]
        j -= 1
    line.loads[g, j, 0] = begin
    line.loads[g, j, 1] = end
    line.load_count[g] += 1


@compiled_part
def remove_load(line: Timeline, g: int, row: int) -> None:
    """Give back the load link that a row's load takes."""
    count = line.load_count[g]
    j = 0
    while line.loads[g, j, 0] != line.rows[row, LOAD_START] or line.loads[g, j, 1] != line.rows[row, READY]:
        j += 1
    for i in range(j, count - 1):
        line.loads[g, i, 0] = line.loads[g, i + 1, 0]
        line.loads[g, i, 1] = line.loads[g, i + 1, 1]
    line.load_count[g] = count - 1


@compiled_part
def load_link_free(loads: Integers, count: int, begin: int, end: int, ignored: int) -> int:
    """``begin`` if no load but the one that starts at ``ignored`` overlaps; else the end of the last that does."""
    free = begin
    for j in range(count):
        if loads[j, 0] >= end:
            break
        if loads[j, 1] > begin and loads[j, 0] != ignored:
            free = max(free, loads[j, 1])
    return free


@compiled_part
def extend_row(shop: Shop, line: Timeline, g: int, model: int, row: int, end: int) -> int:
    """Keep the row's model resident until ``end``; the number of loads saved by growing into the next row (0 or 1)."""
    if end <= line.rows[row, END]:
        return 0
    following = line.rows[row, NEXT]
    if following != NO_ROW and line.rows[following, LOAD_START] < end:
        hold_weights(shop, line, g, model, line.rows[row, END], line.rows[following, LOAD_START])
        remove_load(line, g, following)
        line.rows[row, END] = line.rows[following, END]
        line.rows[row, NEXT] = line.rows[following, NEXT]
        free_row(line, following)
        return 1
    hold_weights(shop, line, g, model, line.rows[row, END], end)
    line.rows[row, END] = end
    return 0


@compiled_part
def load_row(shop: Shop, line: Timeline, g: int, model: int, previous: int, ready: int, end: int) -> int:
    """Load the model after the row ``previous`` so that it is ready then, and keep it; the number of new loads.

    Where that reaches into the following row, that row is loaded earlier instead, at no cost.
    """
    begin = ready - shop.load[model]
    following = line.first_row[g, model] if previous == NO_ROW else line.rows[previous, NEXT]
    if following != NO_ROW and line.rows[following, LOAD_START] < end:
        hold_weights(shop, line, g, model, begin, line.rows[following, LOAD_START])
        remove_load(line, g, following)
        insert_load(line, g, begin, ready)
        line.rows[following, LOAD_START] = begin
        line.rows[following, READY] = ready
        return 0
    hold_weights(shop, line, g, model, begin, end)
    insert_load(line, g, begin, ready)
    row = _new_row(line, following, begin, ready, end, 0)
    if previous == NO_ROW:
        line.first_row[g, model] = row
    else:
        line.rows[previous, NEXT] = row
    return 1


@compiled_part
def run_stage(shop: Shop, line: Timeline, g: int, stage: int, start: int) -> None:
    """Take the stage's slot and KV memory."""
    end = start + shop.stage_duration[stage]
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], start, end, shop.stage_kv[stage], 1)
    line.accelerator[stage] = g
    line.start[stage] = start
