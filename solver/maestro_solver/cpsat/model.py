"""The joint model, built once and solved once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro_solver.cpsat.constraints import Constraints
from maestro_solver.cpsat.data import ModelData
from maestro_solver.cpsat.hint import Hint
from maestro_solver.cpsat.objective import SCALE, Objective
from maestro_solver.cpsat.result import extract
from maestro_solver.cpsat.variables import Variables
from maestro_solver.schedule import Schedule

OnSolution = Callable[[float, Callable[[], Schedule]], None]
"""Called with a solution's objective and a function that gives it as a schedule."""


@dataclass(frozen=True, slots=True)
class SolverLimits:
    """``deterministic_s`` (in the solver's deterministic time) takes the place of the wall clock where it is set."""

    wall_s: float
    workers: int
    seed: int
    deterministic_s: float | None = None


@dataclass(frozen=True, slots=True)
class ModelResult:
    """``status`` is the solver's own; ``schedule`` the best solution, if any.

    ``objective`` and ``bound`` are in the evaluator's unit; both leave out what happens beyond the model's horizon.
    """

    status: cp_model.CpSolverStatus
    schedule: Schedule | None
    objective: float | None
    bound: float


class ExactModel:
    """The model of one prepared instance."""

    def __init__(self, data: ModelData) -> None:
        """Build it, with the data's incumbent as its complete hint."""
        self._data = data
        self._model = cp_model.CpModel()
        self._variables = Variables(data, self._model)
        Constraints(data, self._model, self._variables).add_all()
        Objective(data, self._model, self._variables).minimize()
        Hint(data, self._model, self._variables).write()

    def solve(self, limits: SolverLimits, on_solution: OnSolution | None = None) -> ModelResult:
        """The best solution within the limits."""
        solver = _solver(limits)
        callback = None if on_solution is None else _Stream(self._data, self._variables, on_solution)
        status = solver.solve(self._model, callback)
        found = status in {cp_model.OPTIMAL, cp_model.FEASIBLE}
        return ModelResult(
            status=status,
            schedule=extract(self._data, self._variables, solver.value) if found else None,
            objective=solver.objective_value / SCALE if found else None,
            bound=solver.best_objective_bound / SCALE,
        )

    def hint_is_feasible(self) -> bool:
        """Whether the hint is a solution: every variable is fixed to its hinted value."""
        solver = _solver(SolverLimits(wall_s=10.0, workers=1, seed=0))
        solver.parameters.fix_variables_to_their_hinted_value = True
        return solver.solve(self._model) in {cp_model.OPTIMAL, cp_model.FEASIBLE}

    def is_hint_complete(self) -> bool:
        """Whether every variable has a hint."""
        return len(set(self._model.proto.solution_hint.vars)) == len(self._model.proto.variables)


class _Stream(cp_model.CpSolverSolutionCallback):
    """Hands every solution on as it is found."""

    def __init__(self, data: ModelData, variables: Variables, on_solution: OnSolution) -> None:
        super().__init__()
        self._data = data
        self._variables = variables
        self._on_solution = on_solution

    def on_solution_callback(self) -> None:
        """Called by the solver."""
        self._on_solution(self.objective_value / SCALE, lambda: extract(self._data, self._variables, self.value))


def _solver(limits: SolverLimits) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = limits.workers
    solver.parameters.random_seed = limits.seed
    if limits.deterministic_s is None:
        solver.parameters.max_time_in_seconds = max(0.0, limits.wall_s)
    else:
        solver.parameters.max_deterministic_time = limits.deterministic_s
    return solver
