"""Large neighbourhoods on snapshots: what stands still does, and no step makes a plan worse."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maestro.plan import PlanSource
from maestro_solver.cpsat.data import ModelLimits, prepare
from maestro_solver.cpsat.model import ExactModel, SolverLimits
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner.candidate import Candidate, violations
from maestro_solver.planner.generate import generate
from maestro_solver.planner.incumbent import PORTFOLIO, Incumbent
from maestro_solver.planner.neighbouring import NeighbourhoodSearch
from maestro_solver.planner.portfolio import Portfolio
from maestro_solver.search.layout import Layout, lay_out
from maestro_solver.search.neighbourhoods import CHOICES, Places, stages_of

LIMITS = ModelLimits(max_candidates=8, max_loads=2)


def a_layout_and_a_plan(seed: int = 1) -> tuple[Layout, Candidate]:
    found = generate("contended", 40, 3, seed=seed)
    layout = lay_out(discretize(found, Grid.suited(found), 120.0))
    assert layout is not None
    best = list(Portfolio(layout.instance, layout).run(lambda: False))[-1]
    return layout, best


@pytest.mark.parametrize("name", CHOICES)
def test_every_neighbourhood_frees_whole_workflows_up_to_its_size(name: str) -> None:
    layout, best = a_layout_and_a_plan()
    places = Places(layout, best.complete)
    free = stages_of(places, CHOICES[name](places, np.random.default_rng(0)), size=15)
    workflows = {layout.instance.stages[position].workflow for position in free}
    assert free == {position for position, found in enumerate(layout.instance.stages) if found.workflow in workflows}
    assert len(free) <= 15 or len(workflows) == 1


def test_the_incumbent_is_a_complete_feasible_hint_of_its_neighbourhoods() -> None:
    layout, best = a_layout_and_a_plan()
    data = prepare(layout.instance, best.complete, LIMITS)
    model = ExactModel(data.around(frozenset(range(5))))
    assert model.is_hint_complete()
    assert model.hint_is_feasible()


def test_what_is_not_free_stands_still() -> None:
    layout, best = a_layout_and_a_plan()
    free = frozenset(range(8))
    data = prepare(layout.instance, best.complete, LIMITS).around(free)
    found = ExactModel(data).solve(SolverLimits(10.0, 1, 0, deterministic_s=0.2)).schedule
    assert found is not None
    for position, option in best.complete.options.items():
        if position not in free:
            assert (found.options[position], found.spans[position]) == (option, best.complete.spans[position])


def test_steps_leave_the_incumbent_valid_and_no_worse() -> None:
    layout, best = a_layout_and_a_plan()
    incumbent = Incumbent(layout.instance, lambda _: None)
    incumbent.offer(best, PORTFOLIO)
    NeighbourhoodSearch(layout, PlannerConfig(), time.monotonic, incumbent).run(time.monotonic() + 1.5)
    assert incumbent.best is not None
    assert incumbent.best.objective <= best.objective
    assert violations(layout.instance, incumbent.best) == ()
    assert incumbent.best.source in {PlanSource.PORTFOLIO, PlanSource.IMPROVED}
    assert sum(incumbent.gains.values()) == pytest.approx(best.objective - incumbent.best.objective)
