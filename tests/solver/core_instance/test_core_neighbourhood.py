"""Neighbourhoods of core instances and the search that learns which of them pay."""

import time
from collections import Counter

import numpy as np
import pytest
from tiny_core_instances import busy_document

from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import plan_document
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.neighbourhood.bandit import LARGEST, SMALLEST, Bandit
from maestro_solver.core_instance.neighbourhood.choose import CHOICES
from maestro_solver.core_instance.neighbourhood.search import NeighbourhoodSearch
from maestro_solver.core_instance.neighbourhood.state import IncumbentState
from maestro_solver.core_instance.portfolio import run_portfolio
from maestro_solver.core_instance.problem import cost


def _start(seed=0, workflows=25):
    document = busy_document(workflows, seed)
    problem = problem_from_document(document)
    return document, Instance(problem), run_portfolio(problem, lambda: False).best.plan


@pytest.mark.parametrize("name", CHOICES)
def test_a_neighbourhood_is_of_the_size_asked_for(name):
    """Tests that a scope holds some stages, about as many as asked for at most, and known accelerators."""
    _, instance, plan = _start()
    state = IncumbentState(instance, plan)
    for seed in range(20):
        scope = CHOICES[name](instance, state, 12, np.random.default_rng(seed))
        assert 1 <= len(scope.stages) <= 12
        assert scope.stages <= set(range(instance.problem.stages))
        assert scope.accelerators <= set(range(instance.problem.accelerators))


@pytest.mark.parametrize("name", CHOICES)
def test_a_neighbourhood_of_a_single_workflow_is_that_workflow(name):
    """Tests that there is always something to free."""
    _, instance, plan = _start(workflows=1)
    scope = CHOICES[name](instance, IncumbentState(instance, plan), 1, np.random.default_rng(0))
    assert scope.stages == set(range(instance.problem.stages))


def test_excess_is_what_waiting_costs():
    """Tests that no workflow costs less than alone, and that some here cost more."""
    _, instance, plan = _start()
    state = IncumbentState(instance, plan)
    assert (state.excess >= 0).all()
    assert state.excess.max() > 0


def test_the_search_improves_step_by_step_and_stays_valid():
    """Tests that what a step returns is better than what it was given, and passes the checker."""
    document, instance, plan = _start()
    first = objective = cost(instance.problem, plan).objective
    search = NeighbourhoodSearch(instance, 0, time.monotonic, deterministic=True)
    for _ in range(12):
        found = search.step(plan, 0.0)
        if found is not None:
            assert found.neighbourhood in CHOICES
            plan = found.plan
            assert found.objective < objective
            assert violations(document, plan_document(instance.problem, plan)) == []
            assert cost(instance.problem, plan).objective == pytest.approx(found.objective)
            objective = found.objective
    assert objective < first


def test_equal_seeds_search_alike():
    """Tests that a search in deterministic time depends on nothing but its seed."""
    _, instance, plan = _start(seed=3)
    outcomes = []
    for _ in range(2):
        search = NeighbourhoodSearch(instance, 5, time.monotonic, deterministic=True)
        outcomes.append([found and found.objective for found in (search.step(plan, 0.0) for _ in range(4))])
    assert outcomes[0] == outcomes[1]


def test_there_is_no_time_for_a_step_just_before_the_end():
    """Tests that a search by the clock knows when to begin nothing more."""
    _, instance, _ = _start()
    search = NeighbourhoodSearch(instance, 0, lambda: 100.0)
    assert search.has_time(101.0)
    assert not search.has_time(100.01)


def test_what_gains_more_is_tried_more():
    """Tests that the bandit turns to the arm that pays, and does not give up the other."""
    bandit, rng, tries = Bandit(["poor", "rich"], 20), np.random.default_rng(0), Counter()
    for _ in range(300):
        arm, _ = bandit.choose(rng)
        tries[arm] += 1
        bandit.learn(arm, 5.0 if arm == "rich" else 0.1, 0.1, solved=True)
    assert tries["rich"] > 3 * tries["poor"] > 0


def test_sizes_follow_what_is_solved():
    """Tests that a neighbourhood grows while it is solved, shrinks while it is not, and stays within its limits."""
    for solved, expected in ((True, LARGEST), (False, SMALLEST)):
        bandit, rng = Bandit(["only"], 20), np.random.default_rng(0)
        for _ in range(200):
            bandit.learn("only", 0.0, 0.1, solved=solved)
        sizes = [bandit.choose(rng)[1] for _ in range(20)]
        assert max(sizes) <= 1.1 * LARGEST
        assert min(sizes) >= SMALLEST
        assert abs(np.median(sizes) - expected) < 0.4 * LARGEST
