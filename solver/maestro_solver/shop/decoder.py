"""The list scheduler: stages in a given order, each where it ends earliest, evicting idle models on the way.

Serial generation with insertion: a stage may start in a gap before stages that were placed earlier, and moves none of
them. Decoding the same order twice gives the same plan. About a million placements a second and accelerator.
"""

from __future__ import annotations

import numpy as np

from maestro_solver.shop.compiled import compiled, compiled_part
from maestro_solver.shop.data import FAR, NEVER, NOT_PLACED, Integers, Reals, Shop, Timeline
from maestro_solver.shop.placement import earliest_start
from maestro_solver.shop.rows import NO_ROW, extend_row, load_row
from maestro_solver.shop.timeline import clear, may_use, run_external, run_stage


@compiled_part
def workflow_cost(shop: Shop, workflow: int, completion: int) -> float:
    """What a workflow that completes then costs: late, tardy up to the cap, latency."""
    cost: float = shop.latency_cost[workflow] * completion
    tardiness = completion - shop.deadline[workflow]
    if tardiness > 0:
        cost += shop.late_cost[workflow] + shop.tardy_cost[workflow] * min(float(tardiness), shop.tardy_cap)
    return cost


@compiled_part
def release_in(shop: Shop, line: Timeline, stage: int, cluster: int) -> int:
    """When a stage, whose predecessors are placed, may start in a cluster, or as a tool where that is one too high."""
    release: int = shop.stage_release[stage, cluster]
    for i in range(shop.predecessor_offsets[stage], shop.predecessor_offsets[stage + 1]):
        before = shop.predecessors[i]
        arrived = line.end[before]
        if is_elsewhere(shop, line, before, cluster):
            arrived += shop.network_delay
        release = max(release, arrived)
    return release


@compiled_part
def is_elsewhere(shop: Shop, line: Timeline, stage: int, cluster: int) -> bool:
    """Whether what a placed stage hands over to a cluster has to cross the network; to and from tools it has not."""
    option = line.option[stage]
    if option < 0 or cluster == shop.budget.size - 1:
        return False
    elsewhere: bool = shop.cluster[shop.option_accelerator[option]] != cluster
    return elsewhere


@compiled_part
def crossings(shop: Shop, line: Timeline, stage: int, cluster: int) -> int:
    """How many predecessors of a stage run in another cluster than this one."""
    count = 0
    for i in range(shop.predecessor_offsets[stage], shop.predecessor_offsets[stage + 1]):
        if is_elsewhere(shop, line, shop.predecessors[i], cluster):
            count += 1
    return count


@compiled_part
def place(shop: Shop, line: Timeline, stage: int, patience: float) -> float:
    """Commit the stage where its score is best; what that adds to the cost. Infinity, and no change, without a place.

    The score is the end; ``patience`` is how many load times it waits for room beside a resident copy of a model rather
    than load another.
    """
    if shop.stage_external[stage] >= 0:
        run_external(shop, line, stage, release_in(shop, line, stage, shop.budget.size - 1))
        return 0.0
    best, best_start, best_row, chosen = NEVER, NEVER, NO_ROW, NOT_PLACED
    first, count = shop.option_offsets[stage], shop.option_offsets[stage + 1] - shop.option_offsets[stage]
    for turn in range(2 * count):  # those that have had the model first: what they offer bounds the other scans
        option = first + turn % count
        g, m = shop.option_accelerator[option], shop.option_model[option]
        has_had = line.first_row[g, m] != NO_ROW
        if has_had != (turn < count) or not may_use(shop, line, g, m):
            continue
        release = release_in(shop, line, stage, shop.cluster[g])
        before = best - shop.option_duration[option]
        if release >= before:
            continue
        penalty = int(patience * max(shop.load[g, m], 0))
        score, start, row = earliest_start(shop, line, option, release, before, penalty)
        if score < before:
            best, best_start, best_row, chosen = score + shop.option_duration[option], start, row, option
    if best_start >= FAR:
        return np.inf
    return _commit(shop, line, stage, chosen, best_start, best_row)


@compiled_part
def _commit(shop: Shop, line: Timeline, stage: int, option: int, start: int, row: int) -> float:
    """Carry a place out; what it adds to the cost."""
    g, m = shop.option_accelerator[option], shop.option_model[option]
    end = start + shop.option_duration[option]
    if row >= 0:
        cost = extend_row(shop, line, g, m, row, end)
    else:
        cost = load_row(shop, line, g, m, NO_ROW - 1 - row, start, end)
    cost += shop.option_cost[option]
    if shop.crossing_cost > 0.0:
        cost += shop.crossing_cost * crossings(shop, line, stage, shop.cluster[g])
    cost += shop.use_cost * run_stage(shop, line, stage, option, start)
    return float(cost)


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
    given up early. Every stage stands after its predecessors in ``order``. A stage without a place costs infinity.
    """
    for position in range(order.size):
        stage = order[position]
        cost += place(shop, line, stage, patience)
        if cost == np.inf:
            return np.inf
        workflow = shop.stage_workflow[stage]
        done = line.end[stage] + shop.stage_rest[stage]
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
    return decode(shop, line, order, patience, completion, least_cost(shop, completion), limit)


@compiled
def least_cost(shop: Shop, completion: Integers) -> float:
    """Set each workflow's completion to its least; the cost of that without anything that is placed."""
    in_use = float(shop.base.in_use[shop.base.in_use.size - 1])
    cost = shop.use_cost * in_use + shop.unloaded_cost * float(shop.loads_wanted.sum())
    for workflow in range(completion.size):
        completion[workflow] = shop.least[workflow]
        cost += workflow_cost(shop, workflow, completion[workflow])
    return cost


@compiled
def order_by_key(shop: Shop, key: Reals) -> Integers:
    """Stages by key, each after its predecessors: always the smallest key among those whose predecessors are out."""
    effective = key.copy()
    for stage in range(key.size):
        for i in range(shop.predecessor_offsets[stage], shop.predecessor_offsets[stage + 1]):
            effective[stage] = max(effective[stage], effective[shop.predecessors[i]])
    return np.argsort(effective, kind="mergesort")
