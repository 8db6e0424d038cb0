"""The problem as compiled code reads it: arrays only, the objective folded into costs per tick."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from maestro_solver.core_instance.problem import CoreProblem, Integers, Reals


class Shop(NamedTuple):
    """The problem as compiled code reads it; see ``CoreProblem`` for the fields."""

    stage_workflow: Integers
    stage_model: Integers
    stage_duration: Integers
    stage_kv: Integers
    stage_tail: Integers
    predecessor_offsets: Integers
    predecessors: Integers
    cluster: Integers
    memory: Integers
    slots: Integers
    weights: Integers
    load: Integers
    load_cost: Reals
    """What one load of a model adds to the objective."""
    deadline: Integers
    late_cost: Reals
    tardy_cost: Reals
    """Per tick of tardiness, by workflow."""
    latency_cost: Reals
    """Per tick of completion, by workflow."""
    tardy_cap: float
    """Ticks."""
    network_delay: int
    initially_resident: Integers


def shop_of(problem: CoreProblem) -> Shop:
    """The problem's arrays, with the objective's weights folded into costs per tick."""
    weights, objective = problem.workflow_weight, problem.objective
    return Shop(
        stage_workflow=problem.stage_workflow,
        stage_model=problem.stage_model,
        stage_duration=problem.stage_duration,
        stage_kv=problem.stage_kv,
        stage_tail=problem.stage_tail,
        predecessor_offsets=problem.predecessor_offsets,
        predecessors=problem.predecessors,
        cluster=problem.accelerator_cluster,
        memory=problem.accelerator_memory,
        slots=problem.accelerator_slots,
        weights=problem.model_weights,
        load=problem.model_load,
        load_cost=objective.swap * problem.model_load_s,
        deadline=problem.workflow_deadline,
        late_cost=objective.late * weights,
        tardy_cost=objective.tardy * weights * problem.tick_s,
        latency_cost=objective.latency * weights * problem.tick_s,
        tardy_cap=objective.tardy_cap_s / problem.tick_s,
        network_delay=problem.network_delay,
        initially_resident=problem.initially_resident.astype(np.int64),
    )
