"""What does not change from model to model of one instance, in the form in which models are built."""

from __future__ import annotations

from maestro_solver.core_instance.bounds.completion import CompletionCosts, earliest_ends
from maestro_solver.core_instance.problem import CoreProblem, Reals


class Instance:
    """What does not change with the incumbent; plain lists, since single numbers are read from them."""

    def __init__(self, problem: CoreProblem) -> None:
        self.problem = problem
        self.costs = CompletionCosts(problem)
        self.ends_by_cluster = earliest_ends(problem)
        self.clusters: int = self.ends_by_cluster.shape[1]
        self.predecessors: list[list[int]] = [
            problem.predecessors_of(stage).tolist() for stage in range(problem.stages)
        ]
        self.successors: list[list[int]] = [problem.successors_of(stage).tolist() for stage in range(problem.stages)]
        self.workflow: list[int] = problem.stage_workflow.tolist()
        self.model: list[int] = problem.stage_model.tolist()
        self.duration: list[int] = problem.stage_duration.tolist()
        self.kv: list[int] = problem.stage_kv.tolist()
        self.cluster: list[int] = problem.accelerator_cluster.tolist()
        self.memory: list[int] = problem.accelerator_memory.tolist()
        self.load: list[int] = problem.model_load.tolist()
        self.weights: list[int] = problem.model_weights.tolist()
        self.load_cost: Reals = problem.objective.swap * problem.model_load_s
        self.serial_horizon = int(
            problem.stage_duration.sum() + problem.stages * (problem.network_delay + problem.model_load.max(initial=0))
        )
