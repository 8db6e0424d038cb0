"""The exact model's part in planning: what it may take, which of its solutions count, and what its bound is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro.plan import PlanSource, SolveStatus
from maestro.reasons import Reason
from maestro_solver.cpsat.data import ModelData, ModelLimits, prepare
from maestro_solver.cpsat.model import ExactModel, ModelResult, SolverLimits
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, judge, violations
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.schedule import Schedule

_STREAM_EVERY_S = 0.1
"""Solutions on the way are looked at no more often than this."""

_BUILD_S_PER_CHOICE = 1e-4
"""Seconds that building and loading a model takes per way to place a stage; on the slow side."""

_NO_ANSWER = {
    cp_model.UNKNOWN: Reason.SOLVER_TIMED_OUT,
    cp_model.INFEASIBLE: Reason.SOLVER_RAISED,
    cp_model.MODEL_INVALID: Reason.SOLVER_RAISED,
}


@dataclass(frozen=True, slots=True)
class ExactOutcome:
    """The best valid candidate of the exact model, or the reason why there is none.

    ``bound`` is a lower bound on the objective of any plan on the grid, None where the model proves none.
    """

    candidate: Candidate | None
    status: SolveStatus
    fallback: Reason | None = None
    bound: float | None = None
    build_s: float = 0.0
    solve_s: float = 0.0
    notes: str = ""


class ExactRun:
    """One run of the exact model around an incumbent, until ``until_s`` of ``clock``."""

    def __init__(
        self,
        instance: Instance,
        config: PlannerConfig,
        clock: Callable[[], float],
        until_s: float,
        announce: Callable[[Candidate], None],
    ) -> None:
        self._instance = instance
        self._config = config
        self._clock = clock
        self._until_s = until_s
        self._announce = announce
        self._best: Candidate | None = None
        self._best_objective = 0.0
        self._bound: float | None = None
        self._fallback: Reason | None = None
        self._notes: list[str] = []
        self._build_s = 0.0
        self._solve_s = 0.0
        self._rejected = 0
        self._looked_at_s = float("-inf")

    def outcome(self, incumbent: Candidate) -> ExactOutcome:
        """Build, solve, and judge. Never raises: a failure of the solver is an outcome too."""
        self._best_objective = incumbent.objective
        try:
            self._run(incumbent)
        except Exception as error:  # whatever the solver raises, the portfolio's plan stands
            self._fallback = Reason.SOLVER_RAISED
            self._notes.append(f"{type(error).__name__}: {error}")
        if self._best is None and self._rejected:
            self._fallback = Reason.PLAN_REJECTED_BY_CHECKER
        return ExactOutcome(
            candidate=self._best,
            status=SolveStatus.UNKNOWN if self._best is None else SolveStatus.FEASIBLE,
            fallback=self._fallback,
            bound=self._bound,
            build_s=self._build_s,
            solve_s=self._solve_s,
            notes="; ".join(self._notes),
        )

    def _run(self, incumbent: Candidate) -> None:
        """The model that places everything; where it is solved in time, the relaxation that completes the proof."""
        limits = ModelLimits(self._config.max_candidates, self._config.max_loads)
        data = prepare(self._instance, incumbent.complete, limits)
        if not self._has_time_for(data):
            self._fallback = Reason.SOLVER_TIMED_OUT
            self._notes.append("too little of the limit was left to build the model")
            return
        result = self._solve(data)
        self._fallback = _NO_ANSWER.get(result.status)
        if data.other_plans_bound is None:
            self._notes.append("the model leaves plans out or charges for a queue: its bound is not used")
        if self._best is not None and self._is_proof_missing(data, result, self._best) and self._has_time_for(data):
            self._solve(data.deferring(self._best.complete))

    def _solve(self, data: ModelData) -> ModelResult:
        """Build and solve one model; keep its best solution and the bound it proves."""
        started_s = self._clock()
        model = ExactModel(data)
        built_s = self._clock()
        result = model.solve(self._limits(built_s), self._look_at)
        self._build_s += built_s - started_s
        self._solve_s += self._clock() - built_s
        if result.schedule is not None:
            self._consider(result.schedule)
        others = data.other_plans_bound
        if others is not None:
            self._bound = max(self._bound or 0.0, min(result.bound, others))
        return result

    def _is_proof_missing(self, data: ModelData, result: ModelResult, best: Candidate) -> bool:
        """Whether only plans that defer stand between the solution and the proof that it is optimal."""
        if data.unexpressed_bound is None or result.status != cp_model.OPTIMAL:
            return False
        return data.deferring_bound < best.objective <= data.unexpressed_bound

    def _has_time_for(self, data: ModelData) -> bool:
        """Whether the model would be built before the limit is over."""
        return self._config.deterministic or self._clock() + data.size * _BUILD_S_PER_CHOICE < self._until_s

    def _limits(self, now_s: float) -> SolverLimits:
        deterministic = self._config.deterministic
        return SolverLimits(
            wall_s=self._until_s - now_s,
            workers=1 if deterministic else self._config.workers,
            seed=self._config.seed,
            deterministic_s=self._config.limit_s if deterministic else None,
        )

    def _look_at(self, objective: float, schedule: Callable[[], Schedule]) -> None:
        """A solution on the way: streamed out if it is new and better, and looked at not too often."""
        now_s = self._clock()
        if objective < self._best_objective and now_s - self._looked_at_s >= _STREAM_EVERY_S:
            self._looked_at_s = now_s
            self._consider(schedule())

    def _consider(self, schedule: Schedule) -> None:
        """Keep the solution if it is valid and the best of the model's so far."""
        candidate = judge(self._instance, schedule, PlanSource.CP_SAT)
        if self._best is not None and candidate.objective >= self._best.objective:
            return
        if violations(self._instance, candidate):
            self._rejected += 1
            return
        self._best = candidate
        if candidate.objective < self._best_objective:
            self._best_objective = candidate.objective
            self._announce(candidate)
