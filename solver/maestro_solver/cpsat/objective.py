"""The objective in integers: every coefficient rounded down, so that the model never costs more than the evaluator."""

from __future__ import annotations

import math

from ortools.sat.python import cp_model

from maestro_solver.cpsat.data import ModelData
from maestro_solver.cpsat.variables import Variables

SCALE = 1_000_000
"""The model's objective is the evaluator's times this."""


class Objective:
    """Late workflows, capped tardiness, completion, loads, network delay and accelerators, as the evaluator counts."""

    def __init__(self, data: ModelData, model: cp_model.CpModel, variables: Variables) -> None:
        self._data = data
        self._model = model
        self._variables = variables
        self._terms: list[cp_model.LinearExprT] = []

    def minimize(self) -> None:
        """Set the model's objective."""
        self._count_workflows()
        self._count_loads()
        self._count_accelerators()
        self._count_crossings()
        self._count_changes()
        self._model.minimize(sum(self._terms))

    def _count_workflows(self) -> None:
        """Lateness, tardiness up to the cap, and completion."""
        weights, tick_s = self._data.instance.weights, self._data.instance.grid.tick_s
        cap = self._data.instance.grid.ticks_down(weights.tardy_cap_s)
        for workflow, found in zip(self._data.instance.workflows, self._variables.workflows, strict=True):
            self._model.add(found.completion <= workflow.deadline).only_enforce_if(found.late.negated())
            self._model.add(found.tardiness >= found.completion - workflow.deadline).only_enforce_if(
                found.capped.negated()
            )
            self._model.add(found.tardiness >= cap).only_enforce_if(found.capped)
            self._model.add_implication(found.capped, found.late)
            self._add(weights.late * workflow.weight, found.late)
            self._add(weights.tardy * workflow.weight * tick_s, found.tardiness)
            self._add(weights.latency * workflow.weight * tick_s, found.completion)

    def _count_loads(self) -> None:
        """Load time begun."""
        for pair, copies in self._variables.copies.items():
            for copy in copies:
                if copy.replica is None:
                    load_s = self._data.instance.grid.seconds(self._data.instance.load[pair])
                    self._add(self._data.instance.weights.swap * load_s, copy.present)

    def _count_accelerators(self) -> None:
        """Accelerators in use."""
        for used in self._variables.in_use:
            self._add(self._data.instance.weights.gpu, used)

    def _count_crossings(self) -> None:
        """Hand-overs between clusters."""
        delay_s = self._data.instance.grid.seconds(self._data.instance.network_delay)
        cost = self._data.instance.weights.network * delay_s
        if cost <= 0:
            return
        for position, stage in self._variables.stages.items():
            for before in self._data.instance.stages[position].predecessors:
                origin = self._variables.stages[before].in_cluster
                if not origin or not stage.in_cluster:
                    continue
                crossing = self._model.new_bool_var(f"crossing {before} to {position}")
                self._variables.crossings[before, position] = crossing
                for here, there in zip(stage.in_cluster, origin, strict=True):
                    self._model.add_bool_or(crossing, there, here.negated())
                self._add(cost, crossing)

    def _count_changes(self) -> None:
        """Places and loads of the plan in force that are not kept.

        What is deferred may yet get its place, and its load, when the plan is continued beyond the model's horizon.
        """
        instance, churn = self._data.instance, self._data.instance.weights.churn
        for position, place in instance.kept_places.items():
            found = self._variables.stages.get(position)
            for option in found.options if found is not None else ():
                if (option.option.model, option.option.accelerator) != place:
                    self._add(churn, option.chosen)
        for pair, wanted in instance.kept_loads.items() if self._data.must_place else ():
            begun = [copy for copy in self._variables.copies.get(pair, ()) if copy.replica is None]
            for copy in begun[:wanted]:
                self._add(churn, 1 - copy.present)

    def _add(self, cost: float, variable: cp_model.LinearExprT) -> None:
        coefficient = math.floor(cost * SCALE + 1e-6)
        if coefficient:
            self._terms.append(coefficient * variable)
