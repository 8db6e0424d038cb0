"""The objective in integers: every coefficient rounded down, so that the model never costs more than the judge says."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.variables import Variables, WorkflowVariables

SCALE: Final = 1_000_000
"""The model's objective is the judge's times this, without ``constant``."""


class Objective:
    """Late workflows, tardiness up to the cap, completion and loads of what is in scope."""

    def __init__(self, data: ModelData, model: cp_model.CpModel, variables: Variables) -> None:
        self._data = data
        self._costs = data.instance.costs
        self._model = model
        self._variables = variables
        self._terms: list[cp_model.LinearExpr] = []

    @property
    def constant(self) -> float:
        """What the incumbent's workflows and loads outside the model cost, in the judge's unit."""
        moving = np.zeros(self._data.instance.problem.workflows, dtype=np.bool_)
        moving[self._data.workflows] = True
        outside = float(self._costs.at(self._data.completions)[~moving].sum()) + float(self._costs.offset[moving].sum())
        plan = self._data.incumbent
        loads = float(self._data.instance.load_cost[plan.residency_model[~plan.residency_initial]].sum())
        in_model = sum(
            float(self._data.instance.load_cost[found.copy.pair[0]])
            for found in self._variables.copies
            if found.present is not None and found.copy.row is not None
        )
        return outside + loads - in_model

    def minimize(self) -> None:
        """Set the model's objective."""
        for workflow, found in self._variables.workflows.items():
            self._count_workflow(workflow, found)
        for copy in self._variables.copies:
            if copy.present is not None:
                self._add(float(self._data.instance.load_cost[copy.copy.pair[0]]), copy.present)
        self._model.minimize(sum(self._terms))

    def _count_workflow(self, workflow: int, found: WorkflowVariables) -> None:
        self._add(float(self._costs.latency[workflow]), found.completion)
        if found.late is not None:
            due = int(self._costs.due[workflow])
            self._model.add(found.completion <= due).only_enforce_if(found.late.negated())
            self._add(float(self._costs.late[workflow]), found.late)
        if found.tardiness is None:
            return
        counted_from = int(self._costs.due_for_tardiness[workflow])
        over = self._model.add(found.tardiness >= found.completion - counted_from)
        if found.capped is not None:
            over.only_enforce_if(found.capped.negated())
            self._model.add(found.tardiness == self._costs.tardy_cap).only_enforce_if(found.capped)
        self._add(float(self._costs.tardy[workflow]), found.tardiness)

    def _add(self, cost: float, variable: cp_model.IntVar) -> None:
        coefficient = math.floor(cost * SCALE + 1e-6)
        if coefficient:
            self._terms.append(coefficient * variable)
