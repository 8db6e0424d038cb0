"""What is committed on the accelerators over time: memory and places in use, residencies, loads, stages.

On an accelerator the last step of use is empty; a row ends and begins on steps, which are never merged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from maestro_solver.shop.compiled import compiled, compiled_part
from maestro_solver.shop.data import EXTERNAL, NOT_PLACED, Integers, Shop, Timeline
from maestro_solver.shop.members import change_peers, count_on_peers, has_peers, unused_peers
from maestro_solver.shop.rows import NO_ROW, new_row
from maestro_solver.shop.steps import change_use


class Room(NamedTuple):
    """How much a timeline has to hold at most; see :class:`~maestro_solver.shop.data.Timeline`."""

    stages: int
    accelerators: int
    models: int
    clusters: int
    links: int
    residents: int
    """Rows and holds that are there at the start."""
    replica_stages: int
    """Stages in one replica; -1 if no replica's batch or pool binds."""


def empty_timelines(room: Room, count: int) -> Timeline:
    """``count`` timelines, stacked along the first axis of every array; pages are touched only when used."""
    stages, accelerators, models = room.stages, room.accelerators, room.models
    steps = 3 * stages + 2 * room.residents + 2
    replica_steps = 2 * room.replica_stages + room.residents + 3

    def array(*shape: int) -> Integers:
        return np.empty((count, *shape), dtype=np.int64)

    return Timeline(
        steps=array(accelerators, steps, 3),
        step_count=array(accelerators),
        replica_steps=array(accelerators, models, replica_steps, 3),
        replica_step_count=array(accelerators, models),
        rows=array(stages + room.residents + 1, 5),
        row_count=array(2),
        first_row=array(accelerators, models),
        loads=array(room.links, stages + 1, 2),
        load_count=array(room.links),
        begun=array(accelerators, models),
        stage_count=array(accelerators),
        in_use=array(room.clusters + 1),
        option=array(stages),
        start=array(stages),
        end=array(stages),
    )


def like(shop: Shop, count: int) -> Timeline:
    """Room for ``count`` timelines of the shop."""
    return Timeline(*(np.empty((count, *part.shape), dtype=np.int64) for part in shop.base))


@compiled
def timeline_at(stack: Timeline, index: int) -> Timeline:
    """One timeline of a stack, as views."""
    return Timeline(
        stack.steps[index],
        stack.step_count[index],
        stack.replica_steps[index],
        stack.replica_step_count[index],
        stack.rows[index],
        stack.row_count[index],
        stack.first_row[index],
        stack.loads[index],
        stack.load_count[index],
        stack.begun[index],
        stack.stage_count[index],
        stack.in_use[index],
        stack.option[index],
        stack.start[index],
        stack.end[index],
    )


@compiled
def begin(line: Timeline, limited: Integers, residents: Integers, holds: Integers) -> None:
    """Make a timeline hold what is there at the start.

    ``residents`` (n, 5) are replicas that serve: accelerator, model, ready time, end, memory. ``holds`` (n, 6) is what
    else is held from now on: accelerator, model, end, memory, units of the replica's pool, places.
    """
    line.row_count[0] = 0
    line.row_count[1] = NO_ROW
    line.load_count[:] = 0
    line.begun[:] = 0
    line.stage_count[:] = 0
    line.in_use[:] = 0
    line.option[:] = NOT_PLACED
    line.start[:] = NOT_PLACED
    line.end[:] = NOT_PLACED
    line.first_row[:] = NO_ROW
    line.step_count[:] = 1
    line.steps[:, 0] = 0
    for g in range(limited.shape[0]):
        for m in range(limited.shape[1]):
            line.replica_step_count[g, m] = limited[g, m]
            line.replica_steps[g, m, 0] = 0
    for i in range(residents.shape[0]):
        g, m, end = residents[i, 0], residents[i, 1], residents[i, 3]
        line.first_row[g, m] = new_row(line, NO_ROW, 0, residents[i, 2], end, 1)
        if end > 0:
            line.step_count[g] = change_use(line.steps[g], line.step_count[g], 0, end, residents[i, 4], 0)
    for i in range(holds.shape[0]):
        g, m, end = holds[i, 0], holds[i, 1], holds[i, 2]
        if end > 0:
            line.step_count[g] = change_use(line.steps[g], line.step_count[g], 0, end, holds[i, 3], holds[i, 5])
            if limited[g, m]:
                count = line.replica_step_count[g, m]
                count = change_use(line.replica_steps[g, m], count, 0, end, holds[i, 4], holds[i, 5])
                line.replica_step_count[g, m] = count


@compiled_part
def clear(shop: Shop, line: Timeline) -> None:
    """Nothing placed."""
    copy(shop.base, line)


@compiled_part
def copy(source: Timeline, target: Timeline) -> None:
    """Make the target equal to the source; costs what is filled, not what there is room for."""
    _copy_row(source.step_count, target.step_count)
    _copy_row(source.load_count, target.load_count)
    _copy_row(source.row_count, target.row_count)
    _copy_row(source.stage_count, target.stage_count)
    _copy_row(source.in_use, target.in_use)
    _copy_row(source.option, target.option)
    _copy_row(source.start, target.start)
    _copy_row(source.end, target.end)
    _copy_rows(source.rows, target.rows, source.row_count[0])
    _copy_rows(source.begun, target.begun, source.begun.shape[0])
    _copy_rows(source.first_row, target.first_row, source.first_row.shape[0])
    _copy_rows(source.replica_step_count, target.replica_step_count, source.replica_step_count.shape[0])
    for link in range(source.load_count.size):
        _copy_rows(source.loads[link], target.loads[link], source.load_count[link])
    for g in range(source.step_count.size):
        _copy_rows(source.steps[g], target.steps[g], source.step_count[g])
        for m in range(source.replica_step_count.shape[1]):
            if source.replica_step_count[g, m] > 0:
                _copy_rows(source.replica_steps[g, m], target.replica_steps[g, m], source.replica_step_count[g, m])


@compiled_part
def _copy_row(source: Integers, target: Integers) -> None:
    for i in range(source.size):
        target[i] = source[i]


@compiled_part
def _copy_rows(source: Integers, target: Integers, count: int) -> None:
    for i in range(count):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@compiled_part
def run_stage(shop: Shop, line: Timeline, stage: int, option: int, start: int) -> int:
    """Take what the stage takes; how many accelerators it is the first on."""
    g, m, end = shop.option_accelerator[option], shop.option_model[option], start + shop.option_duration[option]
    line.step_count[g] = change_use(line.steps[g], line.step_count[g], start, end, shop.option_kv[option], 1)
    if shop.limited[g, m]:
        count, pool = line.replica_step_count[g, m], shop.option_pool[option]
        line.replica_step_count[g, m] = change_use(line.replica_steps[g, m], count, start, end, pool, 1)
    line.option[stage] = option
    line.start[stage] = start
    line.end[stage] = end
    line.stage_count[g] += 1
    fresh = int(line.stage_count[g] == 1)
    if fresh:
        line.in_use[shop.cluster[g]] += 1
        line.in_use[line.in_use.size - 1] += 1
    if has_peers(shop.peers, g, m):
        change_peers(shop, line, g, m, start, end, shop.option_kv[option], 1)
        fresh += count_on_peers(shop, line, g, m)
    return fresh


@compiled_part
def run_external(shop: Shop, line: Timeline, stage: int, start: int) -> None:
    """Note when a tool stage runs."""
    line.option[stage] = EXTERNAL
    line.start[stage] = start
    line.end[stage] = start + shop.stage_external[stage]


@compiled_part
def may_use(shop: Shop, line: Timeline, g: int, model: int) -> bool:
    """Whether the budget of accelerators lets a stage of the model go there."""
    if shop.budget_binds == 0:
        return True
    fresh = int(line.stage_count[g] == 0)
    if has_peers(shop.peers, g, model):
        fresh += unused_peers(shop, line, g, model)
    cluster, last = shop.cluster[g], shop.budget.size - 1
    within_cluster: bool = line.in_use[cluster] + fresh <= shop.budget[cluster]
    return fresh == 0 or (within_cluster and line.in_use[last] + fresh <= shop.budget[last])
