"""Every workflow alone: how early its stages can end, and what a completion costs at least."""

from __future__ import annotations

from typing import Final

import numpy as np

from maestro_solver.core_instance.problem import TIME_TOLERANCE_S, CoreProblem, Integers, Reals

_NOISE: Final = 1e-7
"""Binary noise of a quotient of seconds that should be whole, in ticks."""


class CompletionCosts:
    """What a workflow costs by the tick at which its last stage ends; never more than what the judge counts.

    Times off the grid are rounded in the planner's disfavour, so a stage may truly end up to a tick before its grid
    end: ``slack_s`` is the most by which a workflow's stages do, and is given back here. On the grid it is zero and
    the cost is exact.
    """

    def __init__(self, problem: CoreProblem) -> None:
        objective, weight, tick_s = problem.objective, problem.workflow_weight, problem.tick_s
        rounding_s = problem.stage_duration * tick_s - problem.stage_duration_s
        slack_s = np.zeros(problem.workflows)
        np.maximum.at(slack_s, problem.stage_workflow, rounding_s)
        slack_s[slack_s < _NOISE * tick_s] = 0.0
        self.offset: Reals = -objective.latency * weight * slack_s
        self.due: Integers = _ticks_down(problem.workflow_deadline_s + slack_s + TIME_TOLERANCE_S, tick_s)
        """The last tick that is on time."""
        self.due_for_tardiness: Integers = -_ticks_down(-(problem.workflow_deadline_s + slack_s), tick_s)
        """Tardiness is counted from here on; the deadline rounded up."""
        self.tardy_cap: int = int(_ticks_down(np.array(objective.tardy_cap_s), tick_s))
        self.late: Reals = objective.late * weight
        self.tardy: Reals = objective.tardy * weight * tick_s
        """Per tick."""
        self.latency: Reals = objective.latency * weight * tick_s
        """Per tick."""

    def at(self, completion: Integers) -> Reals:
        """The cost of every workflow, by its completion (last axis: workflows)."""
        over = np.clip(completion - self.due_for_tardiness, 0, self.tardy_cap)
        late = self.late * (completion > self.due)
        cost: Reals = self.offset + late + self.tardy * over + self.latency * completion
        return cost

    def latest_within(self, allowed: Reals, earliest: Integers, horizon: int) -> Integers:
        """The last tick at which each workflow may complete for no more than ``allowed``; at least ``earliest``."""
        low, high = earliest.copy(), np.full_like(earliest, max(horizon, int(earliest.max(initial=0))))
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = self.at(middle) <= allowed
            low = np.where(fits, middle, low)
            high = np.where(fits, high, np.maximum(low, middle - 1))
        return low


def earliest_ends(problem: CoreProblem) -> Integers:
    """The first tick by which each stage can have ended in each cluster; shape (stages, clusters).

    Queueing and memory are left out. A model is ready at once in a cluster where it is resident, else after one load.
    """
    ready = _first_ready(problem)
    clusters = ready.shape[1]
    away = problem.network_delay * (1 - np.eye(clusters, dtype=np.int64))
    after = np.repeat(np.arange(problem.stages), np.diff(problem.predecessor_offsets))
    ends: Integers = ready[problem.stage_model] + problem.stage_duration[:, None]
    while True:  # each round settles the stages one step further from the sources
        arrival = (ends[problem.predecessors][:, :, None] + away).min(axis=1, initial=np.iinfo(np.int64).max)
        later = ends.copy()
        np.maximum.at(later, after, arrival + problem.stage_duration[after, None])
        if np.array_equal(later, ends):
            return ends
        ends = later


def earliest_completions(problem: CoreProblem) -> Integers:
    """The first tick by which each workflow can be complete, alone on an empty fleet."""
    completions = np.zeros(problem.workflows, dtype=np.int64)
    np.maximum.at(completions, problem.stage_workflow, earliest_ends(problem).min(axis=1))
    return completions


def necessary_loads(problem: CoreProblem) -> float:
    """What it costs to load every model once that some stage needs and no accelerator holds."""
    needed = np.zeros(problem.models, dtype=np.bool_)
    needed[problem.stage_model] = True
    nowhere = needed & ~problem.initially_resident.any(axis=0)
    return float(problem.objective.swap * problem.model_load_s[nowhere].sum())


def _first_ready(problem: CoreProblem) -> Integers:
    """When each model can serve in each cluster at the earliest; shape (models, clusters)."""
    clusters = int(problem.accelerator_cluster.max(initial=0)) + 1
    ready = np.repeat(problem.model_load[:, None], clusters, axis=1)
    for cluster in range(clusters):
        here = problem.initially_resident[problem.accelerator_cluster == cluster].any(axis=0)
        ready[here, cluster] = 0
    return ready


def _ticks_down(seconds: Reals, tick_s: float) -> Integers:
    return np.floor(seconds / tick_s + _NOISE).astype(np.int64)
