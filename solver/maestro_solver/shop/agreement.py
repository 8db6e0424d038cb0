"""Whether the further accelerators of a tensor-parallel replica let a stage start when the first one does.

They are asked about one start at a time: where one says no, it tells the next start worth a try, and the first is asked
again from there on, until all agree.
"""

from __future__ import annotations

from maestro_solver.shop.compiled import compiled_part
from maestro_solver.shop.data import FAR, NEVER, NO_PEER, Shop, Timeline
from maestro_solver.shop.rows import END, LOAD_START, NEXT, NO_ROW
from maestro_solver.shop.steps import MEMORY, PLACES, TIME, step_at


@compiled_part
def attached_to_peers(shop: Shop, line: Timeline, option: int, row: int, start: int) -> int:
    """``start`` if the stage can start then in the row or an extension of it; else the next to try, or NEVER."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    held_until = min(_load_start(line, line.rows[row, NEXT]), start + shop.option_duration[option])
    for at in shop.peers[g, m]:
        free = (
            start if at == NO_PEER else _free_at(shop, line, at, option, start, line.rows[row, END], held_until, NEVER)
        )
        if free != start:
            return free
    return start


@compiled_part
def loaded_on_peers(shop: Shop, line: Timeline, option: int, following: int, start: int) -> int:
    """``start`` if the model can be loaded just before, ahead of the row ``following``; else the next to try."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    kept_until = FAR if shop.pinned[g, m] else start + shop.option_duration[option]
    held_until, load = min(kept_until, _load_start(line, following)), shop.load[g, m]
    for at in shop.peers[g, m]:
        free = start if at == NO_PEER else _free_at(shop, line, at, option, start, start - load, held_until, load)
        if free != start:
            return free
    return start


@compiled_part
def _load_start(line: Timeline, row: int) -> int:
    """From when on a row holds the weights anyway."""
    begin: int = NEVER if row == NO_ROW else line.rows[row, LOAD_START]
    return begin


@compiled_part
def _free_at(  # noqa: PLR0913, PLR0917 - compiled code takes its state flat
    shop: Shop, line: Timeline, at: int, option: int, start: int, held_from: int, held_until: int, retry: int
) -> int:
    """``start`` if one accelerator takes the stage then, and from ``held_from`` until ``held_until`` the weights.

    Else the next start worth a try; where the weights find no room, that is ``retry`` ticks after there is more.
    """
    g, m = shop.option_accelerator[option], shop.option_model[option]
    steps, last_step, capacity = line.steps[at], line.step_count[at] - 1, shop.memory[at]
    end = start + shop.option_duration[option]
    k = step_at(steps, last_step + 1, min(start, held_from))
    while True:
        time, in_use = steps[k, TIME], steps[k, MEMORY]
        reach = NEVER if k == last_step else steps[k + 1, TIME]
        if reach > held_from and time < held_until:
            in_use += shop.held[g, m]
            if in_use > capacity:
                return min(NEVER, reach + retry)
        is_running = reach > start and time < end
        if is_running and (in_use + shop.option_kv[option] > capacity or steps[k, PLACES] >= shop.slots[at]):
            return reach
        if reach >= end and reach >= held_until:
            return start
        k += 1
