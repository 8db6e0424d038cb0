"""Residencies: chains of rows, one chain for every model on every accelerator, in order of time.

A residency is kept lazily: its row ends with the last stage that has been placed inside it, and memory after that end
is free. Placing a later stage either extends a row, if the weights fit all the way, or loads the model anew; a model
that nothing extends is thereby evicted where that is best for whoever needs the room. So a residency never holds
memory for nothing, and stages are inserted into earlier gaps without a decision about evictions to repeat.
"""

from __future__ import annotations

from typing import Final

from maestro_solver.shop.compiled import compiled_part, constant
from maestro_solver.shop.data import FAR, Shop, Timeline
from maestro_solver.shop.links import begin_load, end_load
from maestro_solver.shop.members import change_peers, has_peers
from maestro_solver.shop.steps import change_use

NO_ROW: Final = constant(-1)

NEXT: Final = 0
LOAD_START: Final = 1
READY: Final = 2
END: Final = 3
INITIAL: Final = 4


@compiled_part
def new_row(line: Timeline, following: int, load_start: int, ready: int, end: int, initial: int) -> int:
    """A row in a place that is free; its number."""
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
def hold_weights(shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int) -> None:
    """Take the memory that a replica of the model holds from begin to end, on every accelerator of it."""
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], begin, end, shop.held[g, model], 0)
    if has_peers(shop.peers, g, model):
        change_peers(shop, line, g, model, begin, end, shop.held[g, model], 0)


@compiled_part
def extend_row(shop: Shop, line: Timeline, g: int, model: int, row: int, end: int) -> float:
    """Keep the row's model resident until ``end``; what that adds to the cost, less than 0 where it saves a load."""
    if end <= line.rows[row, END]:
        return 0.0
    following = line.rows[row, NEXT]
    if following != NO_ROW and line.rows[following, LOAD_START] < end:
        hold_weights(shop, line, g, model, line.rows[row, END], line.rows[following, LOAD_START])
        line.rows[row, END] = line.rows[following, END]
        line.rows[row, NEXT] = line.rows[following, NEXT]
        free_row(line, following)
        return end_load(shop, line, g, model, line.rows[following, LOAD_START])
    hold_weights(shop, line, g, model, line.rows[row, END], end)
    line.rows[row, END] = end
    return 0.0


@compiled_part
def load_row(shop: Shop, line: Timeline, g: int, model: int, previous: int, ready: int, end: int) -> float:
    """Load the model after the row ``previous`` so that it is ready then, and keep it; what that adds to the cost.

    Where that reaches into the following row, that row is loaded earlier instead, at no cost.
    """
    begin = ready - shop.load[g, model]
    following = line.first_row[g, model] if previous == NO_ROW else line.rows[previous, NEXT]
    last = FAR if shop.pinned[g, model] else end
    cost = begin_load(shop, line, g, model, begin)
    if following != NO_ROW and line.rows[following, LOAD_START] < last:
        hold_weights(shop, line, g, model, begin, line.rows[following, LOAD_START])
        cost += end_load(shop, line, g, model, line.rows[following, LOAD_START])
        line.rows[following, LOAD_START] = begin
        line.rows[following, READY] = ready
        return cost
    hold_weights(shop, line, g, model, begin, last)
    row = new_row(line, following, begin, ready, last, 0)
    if previous == NO_ROW:
        line.first_row[g, model] = row
    else:
        line.rows[previous, NEXT] = row
    return cost
