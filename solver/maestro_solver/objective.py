"""What a plan costs: one evaluator for every candidate, whoever made it.

    objective = late    * sum over workflows of  weight * [completion > deadline]
              + tardy   * sum over workflows of  weight * min(max(completion - deadline, 0), tardy_cap_s)
              + latency * sum over workflows of  weight * completion
              + swap    * seconds of load time begun
              + network * seconds of network delay between planned stages of different clusters
              + gpu     * accelerators in use
              + churn   * places and loads of the plan in force that are not kept

All times are seconds after the snapshot, on the grid: a completion is the tick by which the workflow's last stage has
ended, a deadline is rounded down to a tick. Deferred stages count with their estimated ends: the schedule to be scored
is the plan continued beyond its horizon (:mod:`maestro_solver.planner.candidate`), loads included. A stage that
nothing can hold counts as starting when all else has ended, at the horizon at the earliest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from maestro_solver.instance import Instance
from maestro_solver.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The objective, its weighted terms by name, and the estimated completion of every workflow in seconds."""

    objective: float
    terms: Mapping[str, float]
    completion_s: Mapping[str, float]


def evaluate(instance: Instance, complete: Schedule) -> Evaluation:
    """The cost of a schedule that places every stage that can be placed."""
    completions = _completions(instance, complete)
    weights = instance.weights
    late = tardy = latency = 0.0
    for workflow, completion in zip(instance.workflows, completions, strict=True):
        over_s = instance.grid.seconds(max(0, completion - workflow.deadline))
        late += workflow.weight * (over_s > 0)
        tardy += workflow.weight * min(over_s, weights.tardy_cap_s)
        latency += workflow.weight * instance.grid.seconds(completion)
    terms = {
        "late": weights.late * late,
        "tardy": weights.tardy * tardy,
        "latency": weights.latency * latency,
        "swap": weights.swap * _load_s(instance, complete),
        "network": weights.network * _network_s(instance, complete),
        "gpu": weights.gpu * len(accelerators_in_use(instance, complete)),
        "churn": weights.churn * changes(instance, complete),
    }
    completion_s = {
        workflow.id: instance.grid.seconds(completion)
        for workflow, completion in zip(instance.workflows, completions, strict=True)
    }
    return Evaluation(sum(terms.values()), terms, completion_s)


def accelerators_in_use(instance: Instance, schedule: Schedule) -> frozenset[int]:
    """Accelerators on which a stage runs or a model loads, now or by the schedule."""
    forced = {position for position, found in enumerate(instance.accelerators) if found.forced}
    places = {(found.model, found.accelerator) for found in schedule.residents if found.replica is None}
    places |= {(option.model, option.accelerator) for option in schedule.options.values()}
    return frozenset(forced.union(*(instance.members(*place) for place in places)))


def changes(instance: Instance, schedule: Schedule) -> int:
    """How many stages have another place than in the plan in force, or none, and how many of its loads are left out."""
    moved = 0
    for position, place in instance.kept_places.items():
        option = schedule.options.get(position)
        moved += option is None or (option.model, option.accelerator) != place
    begun = Counter((found.model, found.accelerator) for found in schedule.residents if found.replica is None)
    return moved + sum(max(0, wanted - begun[pair]) for pair, wanted in instance.kept_loads.items())


def _completions(instance: Instance, complete: Schedule) -> list[int]:
    """When each workflow's last stage has ended, in ticks."""
    completions = [workflow.running_end for workflow in instance.workflows]
    last = max([instance.horizon, *(span.end for span in complete.spans.values())])
    for position, stage in enumerate(instance.stages):
        span = complete.spans.get(position)
        end = last + stage.tail if span is None else span.end
        completions[stage.workflow] = max(completions[stage.workflow], end)
    return completions


def _load_s(instance: Instance, complete: Schedule) -> float:
    """Seconds of all loads begun by the schedule."""
    ticks = sum(instance.load[found.model, found.accelerator] for found in complete.residents if found.replica is None)
    return instance.grid.seconds(ticks)


def _network_s(instance: Instance, complete: Schedule) -> float:
    """Seconds of network delay over all hand-overs between planned stages in different clusters."""
    crossings = 0
    for position, option in complete.options.items():
        cluster = instance.accelerators[option.accelerator].cluster
        for before in instance.stages[position].predecessors:
            origin = complete.options.get(before)
            crossings += origin is not None and instance.accelerators[origin.accelerator].cluster != cluster
    return instance.grid.seconds(crossings * instance.network_delay)
