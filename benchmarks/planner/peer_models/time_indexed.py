"""A time-indexed mixed-integer program through PuLP, solved by HiGHS: a binary for every stage, place and start.

Time is cut into ``_PERIODS`` periods up to ``horizon`` ticks, durations rounded up to whole periods: on the grid's own
ticks the program would have millions of columns. Starts are therefore on periods, and there is no bound.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Final

import highspy
import pulp

from maestro_solver.core_instance.problem import CoreProblem
from peer_models.placement import PeerAnswer, free_memory, places_of

_PERIODS: Final = 60

Column = tuple[int, int, int]
"""Stage, accelerator, period of the start."""


def solve(problem: CoreProblem, limit_s: float, workers: int, horizon: int) -> PeerAnswer:
    """HiGHS's answer within the limit, building included; nothing may end after ``horizon`` ticks."""
    began_s = time.monotonic()
    period = max(1, math.ceil(horizon / _PERIODS))
    length = [math.ceil(duration / period) for duration in problem.stage_duration.tolist()]
    program, starts = _program(problem, period, length)
    left_s = limit_s - (time.monotonic() - began_s)
    if left_s <= 0:
        return PeerAnswer("not built in time")
    highspy.Highs.resetGlobalScheduler(True)  # its threads are the process's: another program may have set their number
    program.solve(pulp.HiGHS(msg=False, timeLimit=left_s, threads=workers))
    chosen = {column for column, variable in starts.items() if (variable.value() or 0.0) > 0.5}
    status = pulp.LpSolution[program.sol_status].lower()
    if len(chosen) != problem.stages:
        return PeerAnswer(status)
    return PeerAnswer(status, {stage: (where, begin * period) for stage, where, begin in chosen})


def _program(
    problem: CoreProblem, period: int, length: list[int]
) -> tuple[pulp.LpProblem, dict[Column, pulp.LpVariable]]:
    program = pulp.LpProblem("stages", pulp.LpMinimize)
    starts = {
        (stage, where, begin): program.add_variable(f"x_{stage}_{where}_{begin}", cat="Binary")
        for stage in range(problem.stages)
        for where in places_of(problem, stage)
        for begin in range(_PERIODS + 1 - length[stage])
    }
    end_of = _run_each_stage_once(program, problem, starts, length)
    _fit_capacities(program, problem, starts, length)
    cost = []
    for workflow in range(problem.workflows):
        completion = program.add_variable(f"c_{workflow}", 0, _PERIODS)
        for stage in problem.stages_of(workflow):
            program += completion >= end_of[stage]
        cost.append(_cost(program, problem, workflow, completion, period))
    program.setObjective(pulp.lpSum(cost))
    return program, starts


def _run_each_stage_once(
    program: pulp.LpProblem, problem: CoreProblem, starts: dict[Column, pulp.LpVariable], length: list[int]
) -> list[pulp.LpAffineExpression]:
    """Each stage starts once, after its predecessors have ended; returns the ends."""
    columns_of: dict[int, list[Column]] = defaultdict(list)
    for column in starts:
        columns_of[column[0]].append(column)
    begin_of = []
    for stage in range(problem.stages):
        program += pulp.lpSum(starts[column] for column in columns_of[stage]) == 1
        begin_of.append(pulp.lpSum(column[2] * starts[column] for column in columns_of[stage]))
    end_of = [begin + length[stage] for stage, begin in enumerate(begin_of)]
    for stage in range(problem.stages):
        for before in problem.predecessors_of(stage):
            program += begin_of[stage] >= end_of[before]
    return end_of


def _fit_capacities(
    program: pulp.LpProblem, problem: CoreProblem, starts: dict[Column, pulp.LpVariable], length: list[int]
) -> None:
    """Slots and memory of every accelerator in every period."""
    running: dict[tuple[int, int], list[Column]] = defaultdict(list)
    for stage, where, begin in starts:
        for at in range(begin, begin + length[stage]):
            running[where, at].append((stage, where, begin))
    free = free_memory(problem)
    for (where, _), columns in running.items():
        program += pulp.lpSum(starts[column] for column in columns) <= int(problem.accelerator_slots[where])
        program += pulp.lpSum(int(problem.stage_kv[column[0]]) * starts[column] for column in columns) <= free[where]


def _cost(
    program: pulp.LpProblem, problem: CoreProblem, workflow: int, completion: pulp.LpVariable, period: int
) -> pulp.LpAffineExpression:
    weights, weight = problem.objective, float(problem.workflow_weight[workflow])
    due = int(problem.workflow_deadline[workflow]) / period
    late = program.add_variable(f"late_{workflow}", cat="Binary")
    tardiness = program.add_variable(f"tardy_{workflow}", 0)
    program += completion <= due + (_PERIODS + abs(due)) * late
    program += tardiness >= completion - due
    period_s = period * problem.tick_s
    return weight * (
        weights.late * late + weights.tardy * period_s * tardiness + weights.latency * period_s * completion
    )
