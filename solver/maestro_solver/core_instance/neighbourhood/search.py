"""The loop: choose a neighbourhood, solve it, keep what is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.model import ExactModel, ModelResult, SolverLimits
from maestro_solver.core_instance.exact.stopping import Stopper
from maestro_solver.core_instance.neighbourhood.bandit import Bandit
from maestro_solver.core_instance.neighbourhood.choose import CHOICES
from maestro_solver.core_instance.neighbourhood.state import IncumbentState
from maestro_solver.core_instance.problem import CorePlan, cost

FIRST_SIZE: Final = 30
"""Stages in scope before anything is learnt."""

_STEP_S: Final = 0.4
_LEAST_S: Final = 0.03
_LEAST_S_PER_STAGE: Final = 1e-4
"""A first step needs this much time, and this for each stage of the instance; later ones go by what building took."""

_BUILDS: Final = 3.0
"""A step is begun if so many times as long is left as building a model has taken of late."""
_RETURN_S: Final = 0.01
_DETERMINISTIC_S: Final = 0.1
_IMPROVEMENT: Final = 1e-7


class Improvement(NamedTuple):
    """A better plan, its objective, and the neighbourhood that held it."""

    plan: CorePlan
    objective: float
    neighbourhood: str


class NeighbourhoodSearch:
    """Large-neighbourhood search on one instance; it remembers what paid from step to step."""

    def __init__(
        self,
        instance: Instance,
        seed: int,
        clock: Callable[[], float],
        stopper: Stopper | None = None,
        *,
        deterministic: bool = False,
    ) -> None:
        """``deterministic``: steps are limited in the solver's deterministic time, and do not look at the clock."""
        self._instance = instance
        self._rng = np.random.default_rng(seed)
        self._clock = clock
        self._stopper = stopper
        self._bandit = Bandit(list(CHOICES), FIRST_SIZE)
        self._deterministic = deterministic
        self._state: IncumbentState | None = None
        self._build_s = _LEAST_S_PER_STAGE * instance.problem.stages / _BUILDS

    def has_time(self, stop_at_s: float) -> bool:
        """Whether a step can be done before that instant of the clock."""
        left_s = stop_at_s - self._clock()
        return self._deterministic or left_s > _LEAST_S + _BUILDS * self._build_s

    def step(self, incumbent: CorePlan, stop_at_s: float) -> Improvement | None:
        """Solve one neighbourhood of the incumbent; None if it holds nothing better, or nothing was found in time."""
        begun_s = self._clock()
        if self._state is None or self._state.plan is not incumbent:
            self._state = IncumbentState(self._instance, incumbent)
        arm, size = self._bandit.choose(self._rng)
        scope = CHOICES[arm](self._instance, self._state, size, self._rng)
        model = ExactModel(ModelData(self._instance, incumbent, scope))
        self._build_s = max(0.8 * self._build_s, self._clock() - begun_s)
        result = model.solve(self._limits(stop_at_s))
        better = self._better(incumbent, result)
        gain = 0.0 if better is None else cost(self._instance.problem, incumbent).objective - better
        self._bandit.learn(arm, gain, result.seconds, solved=result.status == cp_model.OPTIMAL)
        return None if better is None or result.plan is None else Improvement(result.plan, better, arm)

    def _limits(self, stop_at_s: float) -> SolverLimits:
        seed = int(self._rng.integers(2**31))
        if self._deterministic:
            return SolverLimits(math.inf, 1, seed, _DETERMINISTIC_S)
        wall_s = min(_STEP_S, stop_at_s - self._clock() - _RETURN_S)
        return SolverLimits(wall_s, 1, seed, stopper=self._stopper)

    def _better(self, incumbent: CorePlan, result: ModelResult) -> float | None:
        """The judge's objective of what was found, if it is below the incumbent's."""
        problem = self._instance.problem
        if result.plan is None:
            return None
        objective = cost(problem, result.plan).objective
        return objective if objective < cost(problem, incumbent).objective - _IMPROVEMENT else None
