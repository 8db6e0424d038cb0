"""Taking stages off a timeline again: what they used is free, and residencies shrink to what is left in them."""

from __future__ import annotations

from maestro_solver.shop.compiled import compiled_part
from maestro_solver.shop.data import NEVER, NO_PEER, NOT_PLACED, Integers, Shop, Timeline
from maestro_solver.shop.decoder import crossings
from maestro_solver.shop.links import begin_load, end_load, link_free
from maestro_solver.shop.members import change_peers, discount_on_peers, has_peers
from maestro_solver.shop.rows import END, INITIAL, LOAD_START, NEXT, NO_ROW, READY, free_row
from maestro_solver.shop.steps import MEMORY, PLACES, TIME, change_use, step_at


@compiled_part
def remove_stage(shop: Shop, line: Timeline, stage: int) -> float:
    """Take a stage, whose successors are gone, off the timeline; what it added to the cost, its completion aside."""
    option, start, end = line.option[stage], line.start[stage], line.end[stage]
    line.option[stage] = NOT_PLACED
    if option < 0:
        return 0.0
    g, m = shop.option_accelerator[option], shop.option_model[option]
    saved = _leave(shop, line, g, m) + float(shop.option_cost[option])
    if shop.crossing_cost > 0.0:
        saved += shop.crossing_cost * crossings(shop, line, stage, shop.cluster[g])
    previous, row = NO_ROW, line.first_row[g, m]
    while line.rows[row, END] < end:
        previous, row = row, line.rows[row, NEXT]
    _release(shop, line, g, m, start, end, shop.option_kv[option], 1)
    if shop.limited[g, m]:
        _release_replica(line, g, m, start, end, shop.option_pool[option])
    first_start, last_end = _use(shop, line, g, m, line.rows[row, LOAD_START], line.rows[row, END])
    if line.rows[row, INITIAL]:
        _shrink(shop, line, g, m, row, max(shop.idle[g, m], last_end))
    elif first_start == NEVER:
        saved -= _drop(shop, line, g, m, previous, row)
    else:
        _shrink(shop, line, g, m, row, last_end)
        _load_later(shop, line, g, m, row, first_start)
    return saved


@compiled_part
def _leave(shop: Shop, line: Timeline, g: int, model: int) -> float:
    """Count one stage less on the replica's accelerators; what it costs less if that was the last on some."""
    line.stage_count[g] -= 1
    left = int(line.stage_count[g] == 0)
    if left:
        line.in_use[shop.cluster[g]] -= 1
        line.in_use[line.in_use.size - 1] -= 1
    if has_peers(shop.peers, g, model):
        left += discount_on_peers(shop, line, g, model)
    return shop.use_cost * left


@compiled_part
def _use(shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int) -> tuple[int, int]:
    """First start and last end of the model's stages on the accelerator within a row; NEVER and -1 without any."""
    first_start, last_end = NEVER, -1
    for stage in range(line.start.size):
        option = line.option[stage]
        if option < 0 or shop.option_accelerator[option] != g or shop.option_model[option] != model:
            continue
        if begin <= line.start[stage] < end:
            first_start = min(first_start, line.start[stage])
            last_end = max(last_end, line.end[stage])
    return first_start, last_end


@compiled_part
def _shrink(shop: Shop, line: Timeline, g: int, model: int, row: int, end: int) -> None:
    """End a row sooner, unless the model is pinned there."""
    before = line.rows[row, END]
    if end < before and not shop.pinned[g, model]:
        line.rows[row, END] = end
        _release(shop, line, g, model, end, before, shop.held[g, model], 0)


@compiled_part
def _load_later(shop: Shop, line: Timeline, g: int, model: int, row: int, ready: int) -> None:
    """Load just in time for the first use that is left, where the link is free then."""
    before, begin, link = line.rows[row, LOAD_START], ready - shop.load[g, model], shop.link[g]
    taken_until = begin + shop.link_time[g, model]
    if begin > before and link_free(line.loads[link], line.load_count[link], begin, taken_until, before) == begin:
        end_load(shop, line, g, model, before)
        begin_load(shop, line, g, model, begin)
        line.rows[row, LOAD_START] = begin
        line.rows[row, READY] = ready
        _release(shop, line, g, model, before, begin, shop.held[g, model], 0)


@compiled_part
def _drop(shop: Shop, line: Timeline, g: int, model: int, previous: int, row: int) -> float:
    """Take a row away; what that adds to the cost, less than 0 where it saves."""
    begin, end, following = line.rows[row, LOAD_START], line.rows[row, END], line.rows[row, NEXT]
    if previous == NO_ROW:
        line.first_row[g, model] = following
    else:
        line.rows[previous, NEXT] = following
    free_row(line, row)
    _release(shop, line, g, model, begin, end, shop.held[g, model], 0)
    return end_load(shop, line, g, model, begin)


@compiled_part
def _release(  # noqa: PLR0913, PLR0917 - compiled code takes its state flat
    shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int, memory: int, places: int
) -> None:
    """Free what was in use on every accelerator of a replica, and join the steps that no longer differ."""
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], begin, end, -memory, -places)
    _join_around(line, shop.named_by[g], g, begin, end)
    if has_peers(shop.peers, g, model):
        change_peers(shop, line, g, model, begin, end, -memory, -places)
        for at in shop.peers[g, model]:
            if at != NO_PEER:
                _join_around(line, shop.named_by[at], at, begin, end)


@compiled_part
def _join_around(line: Timeline, named_by: Integers, at: int, begin: int, end: int) -> None:
    """Join the steps of an accelerator that no longer differ at two times."""
    for time in (end, begin):
        if not _bounds_residency(line.rows, line.first_row, named_by, time):
            line.step_count[at] = _join(line.steps[at], line.step_count[at], time)


@compiled_part
def _release_replica(line: Timeline, g: int, model: int, begin: int, end: int, pool: int) -> None:
    """Free one place and some of the pool of a replica."""
    steps, count = line.replica_steps[g, model], line.replica_step_count[g, model]
    count = change_use(steps, count, begin, end, -pool, -1)
    line.replica_step_count[g, model] = _join(steps, _join(steps, count, end), begin)


@compiled_part
def _join(steps: Integers, count: int, time: int) -> int:
    """Remove the step at a time if nothing changes there; the number of steps then."""
    k = step_at(steps, count, time)
    if k == 0 or steps[k, MEMORY] != steps[k - 1, MEMORY] or steps[k, PLACES] != steps[k - 1, PLACES]:
        return count
    for j in range(k, count - 1):
        steps[j, TIME] = steps[j + 1, TIME]
        steps[j, MEMORY] = steps[j + 1, MEMORY]
        steps[j, PLACES] = steps[j + 1, PLACES]
    return count - 1


@compiled_part
def _bounds_residency(rows: Integers, first_row: Integers, named_by: Integers, time: int) -> bool:
    """Whether a row that holds memory on an accelerator begins or ends at a time; such times stay steps.

    ``named_by`` says by model which accelerator's rows these are.
    """
    for model in range(named_by.size):
        row = first_row[named_by[model], model]
        while row != NO_ROW and rows[row, LOAD_START] <= time:
            if rows[row, LOAD_START] == time or rows[row, END] == time:
                return True
            row = rows[row, NEXT]
    return False
