"""From a solution's values to a schedule."""

from __future__ import annotations

from collections.abc import Callable

from ortools.sat.python import cp_model

from maestro.reasons import Reason
from maestro_solver.cpsat.data import ModelData
from maestro_solver.cpsat.variables import CopyVariables, StageVariables, Variables
from maestro_solver.heuristics.profile import FOREVER, StepProfile
from maestro_solver.instance import NOWHERE, GridOption, Instance
from maestro_solver.schedule import Resident, Schedule, Span

Value = Callable[[cp_model.LinearExprT], int]
"""The value of an expression in one solution."""


def extract(data: ModelData, variables: Variables, value: Value) -> Schedule:
    """The solution as a schedule of what starts within the model's horizon."""
    options: dict[int, GridOption] = {}
    spans: dict[int, Span] = {}
    unplaced: dict[int, Reason] = {
        position: stage.obstacle for position, stage in enumerate(data.instance.stages) if stage.obstacle is not None
    }
    for position, stage in variables.stages.items():
        chosen = _chosen(stage, value)
        if value(stage.deferred):
            unplaced[position] = Reason.DEFERRED_BEYOND_HORIZON
        elif chosen is not None:
            options[position] = chosen
            spans[position] = Span(value(stage.start), value(stage.start) + chosen.duration)
    _time_external_stages(data, variables, spans, unplaced)
    residents = _kept_longest(data.instance, _residents(data, variables, value), options, spans)
    return Schedule(options, spans, residents, unplaced)


def _chosen(stage: StageVariables, value: Value) -> GridOption | None:
    return next((found.option for found in stage.options if value(found.chosen)), None)


def _time_external_stages(
    data: ModelData, variables: Variables, spans: dict[int, Span], unplaced: dict[int, Reason]
) -> None:
    """Tool stages start when their predecessors have ended, whatever later start the solution gives them."""
    left = [position for position in variables.stages if position not in spans and position not in unplaced]
    while left:
        for position in list(left):
            stage = data.instance.stages[position]
            if all(before in spans for before in stage.predecessors):
                start = max([stage.release[-1], *(spans[before].end for before in stage.predecessors)])
                spans[position] = Span(start, start + (stage.external or 0))
                left.remove(position)


def _residents(data: ModelData, variables: Variables, value: Value) -> list[Resident]:
    """The copies that are present, each ending when the solution says."""
    copies = [copy for found in variables.copies.values() for copy in found]
    return [_resident(data, copy, value) for copy in (*copies, *variables.leaving) if value(copy.present)]


def _resident(data: ModelData, copy: CopyVariables, value: Value) -> Resident:
    model, accelerator = copy.pair
    end = value(copy.end)
    stays = end >= data.last
    return Resident(accelerator, model, value(copy.load_start), value(copy.ready), None if stays else end, copy.replica)


def _kept_longest(
    instance: Instance, residents: list[Resident], options: dict[int, GridOption], spans: dict[int, Span]
) -> tuple[Resident, ...]:
    """The same residencies, each kept as long as its memory serves nothing else: the solver ends them at random."""
    memory = [StepProfile() for _ in instance.accelerators]
    for position, option in options.items():
        if instance.accelerators[option.accelerator].elastic:
            memory[option.accelerator].add(*spans[position], option.kv)
    for running in instance.running:
        if running.accelerator != NOWHERE and instance.accelerators[running.accelerator].elastic:
            memory[running.accelerator].add(0, running.end, running.kv)
    for found in residents:
        end = FOREVER if found.end is None else found.end
        memory[found.accelerator].add(found.load_start, end, _held(instance, found))
    return tuple(_lengthened(instance, found, residents, memory[found.accelerator]) for found in residents)


def _lengthened(instance: Instance, found: Resident, residents: list[Resident], memory: StepProfile) -> Resident:
    """One residency, ended as late as memory and later residencies of the same pair allow."""
    if found.end is None or (found.replica is not None and instance.replicas[found.replica].draining):
        return found
    held = _held(instance, found)
    limit = min(
        (
            other.load_start
            for other in residents
            if (other.model, other.accelerator) == (found.model, found.accelerator)
            and other.load_start >= found.end
            and other is not found
            and other.replica is None
        ),
        default=FOREVER,
    )
    capacity = instance.accelerators[found.accelerator].memory
    later = [time for time in memory.times if time > found.end]
    full = next((time for time in [found.end, *later] if memory.level_at(time) + held > capacity), FOREVER)
    end = min(limit, full)
    memory.add(found.end, end, held)
    return Resident(
        found.accelerator, found.model, found.load_start, found.ready, None if end >= FOREVER else end, found.replica
    )


def _held(instance: Instance, found: Resident) -> int:
    if found.replica is not None:
        return instance.replicas[found.replica].memory
    return instance.memory_of(found.model, found.accelerator)
