"""A lower bound on the objective that needs no solver: every workflow alone on an otherwise empty fleet."""

from __future__ import annotations

from maestro_solver.instance import GridStage, GridWorkflow, Instance


def critical_path_bound(instance: Instance) -> float:
    """A value that no plan on this grid can go below.

    A workflow ends no sooner than its longest path, every stage at its fastest and started when its predecessors have
    ended and a replica of its model can be ready; queueing, batches, memory and the budget are left out.
    """
    bound = instance.weights.gpu * sum(accelerator.forced for accelerator in instance.accelerators)
    for workflow, completion in zip(instance.workflows, earliest_completions(instance), strict=True):
        bound += workflow_cost(instance, workflow, completion)
    return bound


def overrun_bound(instance: Instance, tick: int) -> float:
    """A value that no plan on this grid can go below in which some stage starts at ``tick`` or later.

    Then some workflow with waiting stages ends later than ``tick``; it is taken to be the one that costs least.
    """
    extras = [
        workflow_cost(instance, workflow, max(completion, tick)) - workflow_cost(instance, workflow, completion)
        for workflow, completion in zip(instance.workflows, earliest_completions(instance), strict=True)
    ]
    return critical_path_bound(instance) + min(extras, default=0.0)


def earliest_ends(instance: Instance) -> dict[int, int]:
    """The first tick by which each stage can have ended, queueing left out; stages are visited in precedence order."""
    ready = _first_ready(instance)
    ends: dict[int, int] = {}
    left = [len(stage.predecessors) for stage in instance.stages]
    stack = [position for position, count in enumerate(left) if count == 0]
    while stack:
        position = stack.pop()
        stage = instance.stages[position]
        after = max((ends[before] for before in stage.predecessors), default=0)
        ends[position] = _earliest_end(instance, stage, after, ready)
        for successor in instance.successors[position]:
            left[successor] -= 1
            if left[successor] == 0:
                stack.append(successor)
    return ends


def workflow_cost(instance: Instance, workflow: GridWorkflow, completion: int) -> float:
    """What a workflow costs that ends at a tick."""
    weights = instance.weights
    over_s = instance.grid.seconds(max(0, completion - workflow.deadline))
    cost = weights.late * (over_s > 0) + weights.tardy * min(over_s, weights.tardy_cap_s)
    return workflow.weight * (cost + weights.latency * instance.grid.seconds(completion))


def _earliest_end(instance: Instance, stage: GridStage, after: int, ready: dict[tuple[int, int], int]) -> int:
    if stage.external is not None:
        return max(after, stage.release[-1]) + stage.external
    if stage.obstacle is not None or not stage.options:
        return instance.horizon
    return min(
        max(
            after,
            stage.release[instance.accelerators[option.accelerator].cluster],
            ready[option.model, option.accelerator],
        )
        + option.duration
        for option in stage.options
    )


def _first_ready(instance: Instance) -> dict[tuple[int, int], int]:
    """When each pair of model and accelerator can serve at the earliest."""
    ready = {}
    for (model, accelerator), load in instance.load.items():
        node = instance.accelerators[accelerator].node
        ready[model, accelerator] = instance.link_free[node] + load
    for replica in instance.replicas:
        pair = (replica.model, replica.accelerator)
        if not replica.draining:
            ready[pair] = min(ready.get(pair, replica.ready), replica.ready)
    return ready


def earliest_completions(instance: Instance) -> list[int]:
    """The first tick by which each workflow can have ended, alone on an otherwise empty fleet."""
    completions = [workflow.running_end for workflow in instance.workflows]
    ends = earliest_ends(instance)
    for position, stage in enumerate(instance.stages):
        end = ends[position]
        if stage.obstacle is not None:
            end = max(end, instance.horizon + stage.tail)
        completions[stage.workflow] = max(completions[stage.workflow], end)
    return completions
