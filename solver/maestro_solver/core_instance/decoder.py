"""The list scheduler: stages in a given order, each where it ends earliest, evicting idle models on the way.

Serial generation with insertion: a stage may start in a gap before stages that were placed earlier, and moves none of
them. Decoding the same order twice gives the same plan. About a million placements a second and accelerator.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from maestro_solver.core_instance.compiled import compiled, compiled_part, constant
from maestro_solver.core_instance.placement import earliest_start
from maestro_solver.core_instance.problem import CorePlan, Integers
from maestro_solver.core_instance.shop import Shop
from maestro_solver.core_instance.timeline import (
    END,
    INITIAL,
    LOAD_START,
    NEVER,
    NEXT,
    NO_ROW,
    Timeline,
    clear,
    extend_row,
    load_row,
    run_stage,
)

_NOWHERE: Final = constant(-1)


@compiled_part
def workflow_cost(shop: Shop, workflow: int, completion: int) -> float:
    """What a workflow that completes then costs: late, tardy up to the cap, latency."""
    cost: float = shop.latency_cost[workflow] * completion
    tardiness = completion - shop.deadline[workflow]
    if tardiness > 0:
        cost += shop.late_cost[workflow] + shop.tardy_cost[workflow] * min(float(tardiness), shop.tardy_cap)
    return cost


@compiled_part
def release_on(shop: Shop, line: Timeline, stage: int, g: int) -> int:
    """When the stage's predecessors, all placed, have arrived on an accelerator."""
    release = 0
    for i in range(shop.predecessor_offsets[stage], shop.predecessor_offsets[stage + 1]):
        before = shop.predecessors[i]
        arrived = line.start[before] + shop.stage_duration[before]
        if shop.cluster[line.accelerator[before]] != shop.cluster[g]:
            arrived += shop.network_delay
        release = max(release, arrived)
    return release


@compiled_part
def place(shop: Shop, line: Timeline, stage: int, patience: float) -> float:
    """Commit the stage where its score is best; what that adds to the cost of loading.

    ``patience`` is how many load times it waits for room beside a resident copy of its model rather than load another.
    """
    model = shop.stage_model[stage]
    load_penalty = int(patience * shop.load[model])
    need = shop.stage_kv[stage] + shop.weights[model]
    best, best_start, best_row, best_g = NEVER, NEVER, NO_ROW, _NOWHERE
    accelerators = shop.memory.size
    for turn in range(2 * accelerators):  # those that have had the model first: what they offer bounds the other scans
        g = turn % accelerators
        has_had = line.first_row[g, model] != NO_ROW
        if has_had != (turn < accelerators) or need > shop.memory[g]:
            continue
        release = release_on(shop, line, stage, g)
        if release >= best:
            continue
        score, start, row = earliest_start(shop, line, g, stage, release, best, load_penalty)
        if score < best:
            best, best_start, best_row, best_g = score, start, row, g
    end = best_start + shop.stage_duration[stage]
    if best_row >= 0:
        loads = -extend_row(shop, line, best_g, model, best_row, end)
    else:
        loads = load_row(shop, line, best_g, model, NO_ROW - 1 - best_row, best_start, end)
    run_stage(shop, line, best_g, stage, best_start)
    return float(loads * shop.load_cost[model])


@compiled_part
def decode(
    shop: Shop,
    line: Timeline,
    order: Integers,
    patience: float,
    completion: Integers,
    cost: float,
    limit: float,
) -> float:
    """Place the stages of an order on a timeline, which may hold others; the cost, or infinity above ``limit``.

    ``completion`` is a lower bound on each workflow's completion, and ``cost`` the cost with those; both are kept true
    as stages are placed, so that at the end they are exact and a decode that can no longer stay within the limit is
    given up early. Every stage stands after its predecessors in ``order``.
    """
    for position in range(order.size):
        stage = order[position]
        cost += place(shop, line, stage, patience)
        workflow = shop.stage_workflow[stage]
        done = line.start[stage] + shop.stage_tail[stage]
        if done > completion[workflow]:
            cost += workflow_cost(shop, workflow, done) - workflow_cost(shop, workflow, completion[workflow])
            completion[workflow] = done
            if cost > limit:
                return np.inf
    return cost


@compiled
def decode_whole(
    shop: Shop, line: Timeline, order: Integers, patience: float, completion: Integers, limit: float
) -> float:
    """Clear the timeline and decode an order of all stages; the cost, or infinity above ``limit``."""
    clear(shop, line)
    return decode(shop, line, order, patience, completion, least_completions(shop, completion), limit)


@compiled
def least_completions(shop: Shop, completion: Integers) -> float:
    """Set each workflow's completion to its longest path from now; the cost of that without loads."""
    for workflow in range(completion.size):
        completion[workflow] = 0
    for stage in range(shop.stage_model.size):
        workflow = shop.stage_workflow[stage]
        completion[workflow] = max(completion[workflow], shop.stage_tail[stage])
    cost = 0.0
    for workflow in range(completion.size):
        cost += workflow_cost(shop, workflow, completion[workflow])
    return cost


def plan_of(line: Timeline) -> CorePlan:
    """The plan that a complete timeline holds."""
    rows = [
        (g, m, *line.rows[row, [LOAD_START, END, INITIAL]])
        for g, m in np.ndindex(line.first_row.shape)
        for row in _chain(line, g, m)
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return CorePlan(
        accelerator=line.accelerator.copy(),
        start=line.start.copy(),
        residency_accelerator=columns[0].copy(),
        residency_model=columns[1].copy(),
        residency_load_start=columns[2].copy(),
        residency_end=columns[3].copy(),
        residency_initial=columns[4].astype(np.bool_),
    )


def _chain(line: Timeline, g: int, model: int) -> list[int]:
    rows, row = [], int(line.first_row[g, model])
    while row != NO_ROW:
        rows.append(row)
        row = int(line.rows[row, NEXT])
    return rows
