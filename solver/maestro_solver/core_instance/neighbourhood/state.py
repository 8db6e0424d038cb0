"""What the neighbourhoods look at in an incumbent."""

from __future__ import annotations

import numpy as np

from maestro_solver.core_instance.bounds.completion import earliest_completions
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.problem import CorePlan, Integers, Reals


class IncumbentState:
    """One plan, by workflow and by stage.

    ``excess`` is what each workflow costs above the least it can; ``begin`` and ``completion`` are ticks.
    """

    def __init__(self, instance: Instance, plan: CorePlan) -> None:
        problem = instance.problem
        self.plan = plan
        self.end: Integers = plan.start + problem.stage_duration
        self.completion: Integers = np.zeros(problem.workflows, dtype=np.int64)
        np.maximum.at(self.completion, problem.stage_workflow, self.end)
        self.begin: Integers = np.full(problem.workflows, np.iinfo(np.int64).max)
        np.minimum.at(self.begin, problem.stage_workflow, plan.start)
        self.released: Integers = _released(instance, plan, self.end)
        """When each stage's predecessors have arrived where it runs."""
        self.earliest: Integers = earliest_completions(problem)
        costs = instance.costs
        self.excess: Reals = np.maximum(costs.at(self.completion) - costs.at(self.earliest), 0.0)
        self.is_late = self.completion > costs.due
        self.can_be_on_time = self.earliest <= costs.due
        self.load: Reals = np.zeros((problem.workflows, problem.accelerators))
        """Ticks that each workflow runs on each accelerator."""
        np.add.at(self.load, (problem.stage_workflow, plan.accelerator), problem.stage_duration)
        self.loads: Integers = np.bincount(
            plan.residency_accelerator[~plan.residency_initial], minlength=problem.accelerators
        )
        """Models loaded on each accelerator."""


def _released(instance: Instance, plan: CorePlan, end: Integers) -> Integers:
    problem = instance.problem
    after = np.repeat(np.arange(problem.stages), np.diff(problem.predecessor_offsets))
    before = problem.predecessors
    cluster = problem.accelerator_cluster[plan.accelerator]
    arrival = end[before] + problem.network_delay * (cluster[before] != cluster[after])
    released: Integers = np.zeros(problem.stages, dtype=np.int64)
    np.maximum.at(released, after, arrival)
    return released
