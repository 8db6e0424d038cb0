"""One model, built once and solved once, within limits that hold even where the solver overruns its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.constraints import Constraints
from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.objective import SCALE, Objective
from maestro_solver.core_instance.exact.result import extract
from maestro_solver.core_instance.exact.stopping import Stopper
from maestro_solver.core_instance.exact.variables import Variables
from maestro_solver.core_instance.problem import CorePlan

OnSolution = Callable[[CorePlan], None]
"""Called from the solver's thread with every solution as it is found."""

OnBound = Callable[[float], None]
"""Called from the solver's thread with every better bound, judge's unit."""


@dataclass(frozen=True, slots=True)
class SolverLimits:
    """``deterministic_s`` (in the solver's deterministic time) takes the place of the wall clock where it is set."""

    wall_s: float
    workers: int = 1
    seed: int = 0
    deterministic_s: float | None = None
    proving: bool = False
    """Raise the bound, rather than look for better solutions; for one worker."""
    stopper: Stopper | None = None


@dataclass(frozen=True, slots=True)
class ModelResult:
    """``plan`` is the last solution, if any and if it is a plan; ``bound`` holds for all plans within the scope.

    Both objective and bound are in the judge's unit.
    """

    status: cp_model.CpSolverStatus
    plan: CorePlan | None
    objective: float | None
    bound: float
    seconds: float
    """What the solver took: its deterministic time where that was limited, else wall clock."""


class ExactModel:
    """The model of one prepared scope, with the incumbent as its complete hint."""

    def __init__(self, data: ModelData) -> None:
        """Build it."""
        self._data = data
        self._model = cp_model.CpModel()
        self._variables = Variables(data, self._model)
        Constraints(data, self._model, self._variables).add_all()
        objective = Objective(data, self._model, self._variables)
        objective.minimize()
        self._constant = objective.constant

    def solve(
        self, limits: SolverLimits, on_solution: OnSolution | None = None, on_bound: OnBound | None = None
    ) -> ModelResult:
        """The best solution within the limits."""
        solver = _solver(limits)
        if on_bound is not None:
            solver.best_bound_callback = lambda bound: on_bound(bound / SCALE + self._constant)
        callback = None if on_solution is None else _Stream(self._data, self._variables, on_solution)
        wall_s = limits.wall_s if limits.deterministic_s is None else math.inf
        with (limits.stopper or Stopper()).watching(solver, wall_s):
            status = solver.solve(self._model, callback)
        found = status in {cp_model.OPTIMAL, cp_model.FEASIBLE}
        plan = extract(self._data, self._variables, solver.value) if found else None
        return ModelResult(
            status=status,
            plan=plan,
            objective=solver.objective_value / SCALE + self._constant if plan is not None else None,
            bound=solver.best_objective_bound / SCALE + self._constant,
            seconds=solver.wall_time if limits.deterministic_s is None else solver.response_proto.deterministic_time,
        )

    def hint_is_feasible(self) -> bool:
        """Whether the hint is complete and a solution: every variable is fixed to its hinted value."""
        if len(set(self._model.proto.solution_hint.vars)) != len(self._model.proto.variables):
            return False
        solver = _solver(SolverLimits(wall_s=10.0))
        solver.parameters.fix_variables_to_their_hinted_value = True
        return solver.solve(self._model) in {cp_model.OPTIMAL, cp_model.FEASIBLE}


class _Stream(cp_model.CpSolverSolutionCallback):
    """Hands every solution on as it is found."""

    def __init__(self, data: ModelData, variables: Variables, on_solution: OnSolution) -> None:
        super().__init__()
        self._data = data
        self._variables = variables
        self._on_solution = on_solution

    def on_solution_callback(self) -> None:
        """Called by the solver."""
        plan = extract(self._data, self._variables, self.value)
        if plan is not None:
            self._on_solution(plan)


def _solver(limits: SolverLimits) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = limits.workers
    solver.parameters.random_seed = limits.seed
    if limits.deterministic_s is None:
        solver.parameters.max_time_in_seconds = max(0.0, limits.wall_s)
    else:
        solver.parameters.max_deterministic_time = limits.deterministic_s
    if limits.proving:
        _set_for_proving(solver)
    return solver


def _set_for_proving(solver: cp_model.CpSolver) -> None:
    """The strategy that closed small instances soonest: cores of late workflows, kept small, and no linear relaxation.

    Its propagation is weak on cumulatives, and probing takes seconds that the cores make better use of.
    """
    solver.parameters.optimize_with_core = True
    solver.parameters.core_minimization_level = 1
    solver.parameters.linearization_level = 0
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
