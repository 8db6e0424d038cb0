"""PyJobShop: a job a workflow, a task a stage, a mode an accelerator; slots and KV memory as renewable resources."""

from __future__ import annotations

import time
from typing import Final

from pyjobshop import Model

from maestro_solver.core_instance.problem import CoreProblem
from peer_models.placement import PeerAnswer, free_memory, places_of

_SCALE: Final = 1000
"""PyJobShop takes whole weights: the objective times this, over the tick."""


def solve(problem: CoreProblem, limit_s: float, workers: int) -> PeerAnswer:
    """PyJobShop's answer by its CP-SAT back end within the limit, building included."""
    began_s = time.monotonic()
    model, tasks = _model(problem)
    left_s = max(0.01, limit_s - (time.monotonic() - began_s))
    result = model.solve(solver="ortools", time_limit=left_s, display=False, num_workers=workers)
    status = result.status.value.lower()
    if not result.best.tasks:
        return PeerAnswer(status)
    places = {}
    for stage, where_of_mode in enumerate(tasks):
        found = result.best.tasks[stage]
        places[stage] = (where_of_mode[found.mode], found.start)
    return PeerAnswer(status, places, bound=result.lower_bound / _SCALE)


def _model(problem: CoreProblem) -> tuple[Model, list[dict[int, int]]]:
    """The model, and for each task the accelerator that each of its modes stands for."""
    model = Model()
    weights, tick_s = problem.objective, problem.tick_s
    slots = [model.add_renewable(capacity=int(count)) for count in problem.accelerator_slots]
    memory = [model.add_renewable(capacity=free) for free in free_memory(problem)]
    jobs = [
        model.add_job(weight=int(weight), due_date=max(0, int(deadline)))
        for weight, deadline in zip(problem.workflow_weight, problem.workflow_deadline, strict=True)
    ]
    tasks = [model.add_task(job=jobs[workflow]) for workflow in problem.stage_workflow]
    mode_of: list[dict[int, int]] = []
    modes = 0
    for stage, task in enumerate(tasks):
        mode_of.append({})
        for where in places_of(problem, stage):
            demands = [1, int(problem.stage_kv[stage])]
            duration = int(problem.stage_duration[stage])
            model.add_mode(task, [slots[where], memory[where]], duration=duration, demands=demands)
            mode_of[stage][modes] = where
            modes += 1
        for before in problem.predecessors_of(stage):
            model.add_end_before_start(tasks[before], task)
    model.set_objective(
        weight_tardy_jobs=round(weights.late * _SCALE),
        weight_total_tardiness=round(weights.tardy * tick_s * _SCALE),
        weight_total_flow_time=round(weights.latency * tick_s * _SCALE),
    )
    return model, mode_of
