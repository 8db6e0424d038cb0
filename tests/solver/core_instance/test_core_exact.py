"""The exact model of core instances."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model
from tiny_core_instances import busy_document, cheapest_by_enumeration, tiny_documents

from maestro_solver.core_instance.bounds.lower_bound import lower_bound
from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import plan_document
from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.model import ExactModel, SolverLimits
from maestro_solver.core_instance.exact.scope import Scope
from maestro_solver.core_instance.exact.stopping import Stopper
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.portfolio import run_portfolio
from maestro_solver.core_instance.problem import cost

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
LIMITS = SolverLimits(wall_s=20.0)


def _incumbent(problem):
    return run_portfolio(problem, lambda: False).best.plan


def _whole(problem):
    return ExactModel(ModelData(Instance(problem), _incumbent(problem), Scope.everything(problem)))


@FEW
@given(tiny_documents())
def test_the_optimum_is_that_of_enumeration(document):
    """Tests that the proven optimum is the cost of the best of all plans."""
    problem = problem_from_document(document)
    result = _whole(problem).solve(LIMITS)
    assert result.status == cp_model.OPTIMAL
    assert result.objective == pytest.approx(cheapest_by_enumeration(document), abs=1e-4)
    assert result.bound == pytest.approx(result.objective, abs=1e-4)


@settings(parent=FEW, max_examples=30)
@given(tiny_documents(stages=6))
def test_the_relaxation_is_below_the_proven_optimum(document):
    """Tests that the linear bound never exceeds what the exact model proves, and that its plan is valid."""
    problem = problem_from_document(document)
    result = _whole(problem).solve(LIMITS)
    assert result.status == cp_model.OPTIMAL
    assert lower_bound(problem) <= result.bound + 1e-4
    assert violations(document, plan_document(problem, result.plan)) == []
    assert cost(problem, result.plan).objective == pytest.approx(result.objective, abs=1e-3)


@settings(parent=FEW, max_examples=25)
@given(st.integers(0, 10_000), st.data())
def test_the_incumbent_is_a_complete_feasible_hint_in_every_scope(seed, data):
    """Tests that fixing all variables to the hint gives a solution, whatever is free."""
    problem = problem_from_document(busy_document(8, seed))
    plan = _incumbent(problem)
    workflows = data.draw(st.sets(st.integers(0, problem.workflows - 1), min_size=1, max_size=6))
    accelerators = data.draw(st.sets(st.integers(0, problem.accelerators - 1)))
    stages = frozenset(int(stage) for workflow in workflows for stage in problem.stages_of(workflow))
    scope = Scope(stages, frozenset(accelerators))
    assert ExactModel(ModelData(Instance(problem), plan, scope)).hint_is_feasible()


@pytest.mark.parametrize("seed", range(3))
def test_the_incumbent_is_a_complete_feasible_hint_of_the_whole(seed):
    """Tests the same with everything free."""
    assert _whole(problem_from_document(busy_document(10, seed))).hint_is_feasible()


@settings(parent=FEW, max_examples=20)
@given(st.integers(0, 10_000), st.data())
def test_what_a_scope_gives_is_valid_and_never_worse(seed, data):
    """Tests that plans of random scopes, one upon another, pass the checker, cost what is said, and never cost more."""
    document = busy_document(8, seed)
    problem = problem_from_document(document)
    instance, plan = Instance(problem), _incumbent(problem)
    for _ in range(2):
        workflows = data.draw(st.sets(st.integers(0, problem.workflows - 1), min_size=1, max_size=3))
        stages = frozenset(int(stage) for workflow in workflows for stage in problem.stages_of(workflow))
        scope = Scope(stages, data.draw(st.frozensets(st.integers(0, problem.accelerators - 1))))
        result = ExactModel(ModelData(instance, plan, scope)).solve(SolverLimits(10.0, deterministic_s=0.2))
        if result.plan is None:
            continue
        assert violations(document, plan_document(problem, result.plan)) == []
        assert cost(problem, result.plan).objective <= cost(problem, plan).objective + 1e-6
        assert cost(problem, result.plan).objective == pytest.approx(result.objective, abs=1e-3)
        fixed = np.array([stage not in scope.stages for stage in range(problem.stages)])
        assert (result.plan.start[fixed] == plan.start[fixed]).all()
        plan = result.plan


def test_a_solve_ends_when_all_are_stopped():
    """Tests that stopping ends a solve long before its own limit."""
    stopper = Stopper()
    model = _whole(problem_from_document(busy_document(40, 0)))
    solving = threading.Thread(target=model.solve, args=(SolverLimits(3600.0, stopper=stopper),))
    solving.start()
    time.sleep(0.3)
    stopper.stop()
    solving.join(240.0)
    assert not solving.is_alive()


def test_a_solve_begun_after_stopping_ends_at_once():
    """Tests that nothing is begun in earnest once all are stopped."""
    stopper = Stopper()
    stopper.stop()
    solving = threading.Thread(
        target=_whole(problem_from_document(busy_document(40, 0))).solve, args=(SolverLimits(3600.0, stopper=stopper),)
    )
    solving.start()
    solving.join(240.0)
    assert not solving.is_alive()
