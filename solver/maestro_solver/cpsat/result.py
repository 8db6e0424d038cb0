"""From a solution's values to a schedule."""

from __future__ import annotations

from collections.abc import Callable

from ortools.sat.python import cp_model

from maestro.reasons import Reason
from maestro_solver.cpsat.data import ModelData
from maestro_solver.cpsat.variables import CopyVariables, StageVariables, Variables
from maestro_solver.heuristics.keeping import kept_longest
from maestro_solver.instance import GridOption
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
    residents = kept_longest(data.instance, _residents(data, variables, value), options, spans)
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
