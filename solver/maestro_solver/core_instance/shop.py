"""A core instance laid out as a shop, and what a timeline of it holds as a plan."""

from __future__ import annotations

import numpy as np

from maestro_solver.core_instance.problem import CorePlan, CoreProblem, Integers
from maestro_solver.shop.data import Shop, Timeline
from maestro_solver.shop.rows import END, INITIAL, LOAD_START, NEXT, NO_ROW
from maestro_solver.shop.timeline import Room, begin, empty_timelines, timeline_at


def shop_of(problem: CoreProblem) -> Shop:
    """The problem's arrays, with the objective's weights folded into costs per tick; every accelerator has a link."""
    stages, accelerators, models = problem.stages, problem.accelerators, problem.models
    pairs = (accelerators, models)
    weights, objective = problem.workflow_weight, problem.objective
    fits = (problem.stage_kv + problem.model_weights[problem.stage_model])[:, None] <= problem.accelerator_memory
    stage, accelerator = (np.ascontiguousarray(each) for each in np.nonzero(fits))
    clusters = int(problem.accelerator_cluster.max(initial=0)) + 1
    return Shop(
        stage_workflow=problem.stage_workflow,
        stage_tail=problem.stage_tail,
        stage_rest=problem.stage_tail - problem.stage_duration,
        stage_release=np.zeros((stages, clusters + 1), dtype=np.int64),
        stage_first=np.zeros(stages, dtype=np.int64),
        stage_external=np.full(stages, -1),
        option_offsets=np.concatenate([[0], np.cumsum(fits.sum(axis=1))]).astype(np.int64),
        option_accelerator=accelerator,
        option_model=problem.stage_model[stage],
        option_duration=problem.stage_duration[stage],
        option_cost=np.zeros(stage.size),
        option_kv=problem.stage_kv[stage],
        option_pool=np.zeros(stage.size, dtype=np.int64),
        predecessor_offsets=problem.predecessor_offsets,
        predecessors=problem.predecessors,
        workflow_stage_offsets=problem.workflow_stage_offsets,
        workflow_stages=problem.workflow_stages,
        cluster=problem.accelerator_cluster,
        link=np.arange(accelerators),
        memory=problem.accelerator_memory,
        slots=problem.accelerator_slots,
        held=np.tile(problem.model_weights, (accelerators, 1)),
        load=np.tile(problem.model_load, (accelerators, 1)),
        link_time=np.tile(problem.model_load, (accelerators, 1)),
        load_cost=np.tile(objective.swap * problem.model_load_s, (accelerators, 1)),
        loads_wanted=np.zeros(pairs, dtype=np.int64),
        unloaded_cost=0.0,
        first_load=np.zeros(pairs, dtype=np.int64),
        idle=np.zeros(pairs, dtype=np.int64),
        pinned=np.zeros(pairs, dtype=np.int64),
        peers=np.zeros((*pairs, 0), dtype=np.int64),
        named_by=np.repeat(np.arange(accelerators), models).reshape(pairs),
        limited=np.zeros(pairs, dtype=np.int64),
        batch=np.zeros(pairs, dtype=np.int64),
        pool=np.zeros(pairs, dtype=np.int64),
        deadline=problem.workflow_deadline,
        least=_longest_paths(problem),
        weight=weights,
        late_cost=objective.late * weights,
        tardy_cost=objective.tardy * weights * problem.tick_s,
        latency_cost=objective.latency * weights * problem.tick_s,
        tardy_cap=objective.tardy_cap_s / problem.tick_s,
        network_delay=problem.network_delay,
        crossing_cost=0.0,
        use_cost=0.0,
        budget=np.array([*np.bincount(problem.accelerator_cluster, minlength=clusters), accelerators]),
        budget_binds=0,
        base=_base(problem, clusters),
    )


def plan_of(shop: Shop, line: Timeline) -> CorePlan:
    """The plan that a complete timeline holds."""
    rows = [
        (g, m, *line.rows[row, [LOAD_START, END, INITIAL]])
        for g, m in np.ndindex(line.first_row.shape)
        for row in _chain(line, g, m)
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return CorePlan(
        accelerator=shop.option_accelerator[line.option],
        start=line.start.copy(),
        residency_accelerator=columns[0].copy(),
        residency_model=columns[1].copy(),
        residency_load_start=columns[2].copy(),
        residency_end=columns[3].copy(),
        residency_initial=columns[4].astype(np.bool_),
    )


def _longest_paths(problem: CoreProblem) -> Integers:
    least = np.zeros(problem.workflows, dtype=np.int64)
    np.maximum.at(least, problem.stage_workflow, problem.stage_tail)
    return least


def _base(problem: CoreProblem, clusters: int) -> Timeline:
    """Resident models, which leave at once where nobody uses them."""
    resident = np.argwhere(problem.initially_resident)
    room = Room(
        stages=problem.stages,
        accelerators=problem.accelerators,
        models=problem.models,
        clusters=clusters,
        links=problem.accelerators,
        residents=len(resident),
        replica_stages=-1,
    )
    line = timeline_at(empty_timelines(room, 1), 0)
    rows = np.zeros((len(resident), 5), dtype=np.int64)
    rows[:, :2] = resident
    begin(line, np.zeros((problem.accelerators, problem.models), np.int64), rows, np.zeros((0, 6), np.int64))
    return line


def _chain(line: Timeline, g: int, model: int) -> list[int]:
    rows, row = [], int(line.first_row[g, model])
    while row != NO_ROW:
        rows.append(row)
        row = int(line.rows[row, NEXT])
    return rows
