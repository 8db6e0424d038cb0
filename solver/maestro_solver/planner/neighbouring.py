"""The large-neighbourhood search's part in planning: CP-SAT moves a few workflows at a time, and all that is resident.

Which neighbourhood is tried next, and how large, is learnt from what each gained in a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ortools.sat.python import cp_model

from maestro.plan import PlanSource
from maestro_solver.core_instance.neighbourhood.bandit import Bandit
from maestro_solver.cpsat.data import ModelData, ModelLimits, prepare
from maestro_solver.cpsat.model import ExactModel, SolverLimits
from maestro_solver.planner.candidate import Candidate, judge
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.incumbent import Incumbent
from maestro_solver.search.layout import Layout
from maestro_solver.search.neighbourhoods import CHOICES, Places, stages_of

NEIGHBOURHOODS = "neighbourhoods"

_FIRST_SIZE = 30
"""Stages that may move before anything is learnt."""

_STEP_S = 0.5
"""The solver's limit for a step."""

_SEARCH_S = 0.1
"""What it takes of that, about."""


_BUILD_S_PER_STAGE = 4e-4
"""Seconds that a step takes for each stage of the snapshot before it searches, until that has been measured."""

_LEAST_SEARCH = 2.0
"""A step is begun if so many times as long is left as the one before took to be built."""


class NeighbourhoodSearch:
    """Steps around the incumbent until an instant of the clock; what is better is offered."""

    def __init__(self, layout: Layout, config: PlannerConfig, clock: Callable[[], float], incumbent: Incumbent) -> None:
        self._layout = layout
        self._config = config
        self._clock = clock
        self._incumbent = incumbent
        self._rng = np.random.default_rng(config.seed)
        self._bandit = Bandit(list(CHOICES), _FIRST_SIZE)
        self._build_s = _BUILD_S_PER_STAGE * layout.positions.size

    def steps_in(self, seconds: float) -> int:
        """About how many steps there is time for."""
        return int(seconds / (_LEAST_SEARCH * self._build_s + _SEARCH_S))

    def run(self, until_s: float) -> None:
        """Step as long as there is time for another step."""
        best: Candidate | None = None
        data: ModelData | None = None
        while self._clock() + _LEAST_SEARCH * self._build_s < until_s:
            if self._incumbent.best is None:
                return
            begun_s = self._clock()
            if data is None or best is not self._incumbent.best:
                best = self._incumbent.best
                limits = ModelLimits(self._config.max_candidates, self._config.max_loads)
                data, places = (
                    prepare(self._layout.instance, best.complete, limits),
                    Places(self._layout, best.complete),
                )
                if not data.must_place:
                    return  # the model cannot tell the incumbent
            self._step(data, places, begun_s, until_s)

    def _step(self, data: ModelData, places: Places, begun_s: float, until_s: float) -> None:
        arm, size = self._bandit.choose(self._rng)
        free = stages_of(places, CHOICES[arm](places, self._rng), size)
        model = ExactModel(data.around(free))
        built_s = self._clock()
        self._build_s = max(0.8 * self._build_s, built_s - begun_s)
        seed = int(self._rng.integers(2**31))
        result = model.solve(SolverLimits(min(_STEP_S, until_s - built_s), self._config.workers, seed))
        gain = 0.0
        if result.schedule is not None:
            candidate = judge(self._layout.instance, result.schedule, PlanSource.IMPROVED, f"{NEIGHBOURHOODS}:{arm}")
            before = self._incumbent.best
            if self._incumbent.offer(candidate, NEIGHBOURHOODS) and before is not None:
                gain = before.objective - candidate.objective
        solved = result.status == cp_model.OPTIMAL
        self._bandit.learn(arm, gain, self._clock() - begun_s, solved=solved)
