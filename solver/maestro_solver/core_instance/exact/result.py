"""From a solution's values to a plan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.variables import CopyVariables, Variables
from maestro_solver.core_instance.problem import CorePlan

Value = Callable[[cp_model.LinearExprT], int]
"""The value of an expression in one solution."""

_Row = tuple[int, int, int, int, bool]
"""Accelerator, model, load start, end, initial."""


def extract(data: ModelData, variables: Variables, value: Value) -> CorePlan | None:
    """The incumbent with what is in scope as in the solution; every row ends with its last stage.

    None for a solution that needs more loads of a pair than the model tells apart, which is no plan.
    """
    if any(copy.copy.is_overflow and copy.present is not None and value(copy.present) for copy in variables.copies):
        return None
    accelerator, start = data.incumbent.accelerator.copy(), data.incumbent.start.copy()
    last_use = _fixed_last_use(data)
    copy_use: dict[int, int] = {}
    for stage, found in variables.stages.items():
        taken = next(o for o, literal in zip(data.options[stage], found.chosen, strict=True) if value(literal))
        start[stage], accelerator[stage] = value(found.start), taken.accelerator
        end = int(start[stage]) + data.instance.duration[stage]
        copy_use[taken.copy] = max(copy_use.get(taken.copy, 0), end)
    rows = _rows_outside(data, last_use)
    for position, copy in enumerate(variables.copies):
        if copy.present is None or value(copy.present):
            fixed = last_use.get(copy.copy.row, 0) if copy.copy.row is not None else 0
            rows.append(_row(data, copy, max(fixed, copy_use.get(position, 0)), value))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return CorePlan(
        accelerator=accelerator,
        start=start,
        residency_accelerator=columns[0].copy(),
        residency_model=columns[1].copy(),
        residency_load_start=columns[2].copy(),
        residency_end=columns[3].copy(),
        residency_initial=columns[4].astype(np.bool_),
    )


def _row(data: ModelData, copy: CopyVariables, last_use: int, value: Value) -> _Row:
    model, where = copy.copy.pair
    begin = value(copy.load_start)
    ready = begin + (0 if copy.copy.initial else data.instance.load[model])
    return where, model, begin, max(ready, last_use), copy.copy.initial


def _fixed_last_use(data: ModelData) -> dict[int, int]:
    """The last end of a stage that does not move, by row of the incumbent."""
    found: dict[int, int] = {}
    for stage, row in enumerate(data.row_of):
        if stage not in data.scope.stages:
            found[row] = max(found.get(row, 0), data.end_of(stage))
    return found


def _rows_outside(data: ModelData, last_use: dict[int, int]) -> list[_Row]:
    """The incumbent's rows that the model knows nothing of."""
    plan, inside = data.incumbent, {copy.row for copy in data.copies}
    rows: list[_Row] = []
    for row in range(plan.residency_model.size):
        if row not in inside:
            model, begin = int(plan.residency_model[row]), int(plan.residency_load_start[row])
            initial = bool(plan.residency_initial[row])
            ready = begin if initial else begin + data.instance.load[model]
            where = int(plan.residency_accelerator[row])
            rows.append((where, model, begin, max(ready, last_use.get(row, 0)), initial))
    return rows
