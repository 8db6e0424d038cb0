"""The planner of core instances as a whole."""

import threading
import time

import pytest
from tiny_core_instances import busy_document, document_of

from maestro_solver.core_instance import planning
from maestro_solver.core_instance.bounds.lower_bound import lower_bound
from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import plan_document
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.incumbent import Incumbent
from maestro_solver.core_instance.planning import plan_instance
from maestro_solver.core_instance.portfolio import run_portfolio
from maestro_solver.core_instance.result import InstanceConfig, PlanStatus


def _by_steps(seed=0, workers=1):
    return InstanceConfig(seed=seed, workers=workers, decodes=200, neighbourhoods=4)


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_is_valid_and_never_worse_than_the_portfolio(seed):
    """Tests that what comes back passes the checker, and lies between its bound and the best rule."""
    document = busy_document(15, seed)
    problem = problem_from_document(document)
    result = plan_instance(problem, _by_steps(seed), time.monotonic)
    assert violations(document, plan_document(problem, result.plan)) == []
    assert result.terms.objective <= run_portfolio(problem, lambda: False).best.objective + 1e-6
    assert lower_bound(problem) - 1e-6 <= result.bound <= result.terms.objective


def test_equal_seeds_give_equal_plans():
    """Tests that the planner limited by steps does not depend on the clock."""
    problem = problem_from_document(busy_document(12, 1))
    first, second = (plan_instance(problem, _by_steps(7), time.monotonic) for _ in range(2))
    assert first.terms == second.terms
    assert (first.plan.start == second.plan.start).all()
    assert (first.plan.accelerator == second.plan.accelerator).all()


def test_gains_add_up():
    """Tests that the gains of the parts are what lies between the best rule and the plan."""
    problem = problem_from_document(busy_document(20, 2))
    result = plan_instance(problem, _by_steps(), time.monotonic)
    assert min(result.portfolio.values()) - sum(result.gains.values()) == pytest.approx(result.terms.objective)


def test_a_tiny_instance_is_proven_optimal_by_the_clock():
    """Tests that the exact model settles a handful of stages, and the planner then stops."""
    problem = problem_from_document(busy_document(3, 0))
    result = plan_instance(problem, InstanceConfig(limit_s=60.0, workers=1), time.monotonic)
    assert result.status == PlanStatus.OPTIMAL
    assert result.gap == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limited_run_answers_with_a_valid_plan(workers):
    """Tests that a run limited by the clock gives a valid plan and a bound, with one worker and with two."""
    document = busy_document(25, 3)
    problem = problem_from_document(document)
    result = plan_instance(problem, InstanceConfig(limit_s=1.5, workers=workers), time.monotonic)
    assert violations(document, plan_document(problem, result.plan)) == []
    assert 0 < result.bound <= result.terms.objective


def test_without_any_time_there_is_still_a_plan():
    """Tests that a limit that has passed already gives a rule's plan and a bound."""
    document = busy_document(25, 3)
    problem = problem_from_document(document)
    result = plan_instance(problem, InstanceConfig(limit_s=0.0), time.monotonic)
    assert violations(document, plan_document(problem, result.plan)) == []
    assert result.source in result.portfolio
    assert result.bound > 0


def test_a_part_that_fails_costs_its_gain_and_is_reported(monkeypatch):
    """Tests that a solver that raises leaves the incumbent, and its error as the reason."""

    def fail(*arguments, **options):
        raise RuntimeError("the solver is broken")

    monkeypatch.setattr(planning, "NeighbourhoodSearch", fail)
    monkeypatch.setattr(planning, "prove", fail)
    problem = problem_from_document(busy_document(25, 3))
    result = plan_instance(problem, InstanceConfig(limit_s=1.0), time.monotonic)
    assert result.fallback_reason == "RuntimeError: the solver is broken"


def test_a_part_that_hangs_is_not_waited_for(monkeypatch):
    """Tests that the answer comes while a part is still stuck, and that it is a valid plan."""
    released = threading.Event()
    monkeypatch.setattr(planning, "prove", lambda *arguments: released.wait(60.0))
    document = busy_document(25, 3)
    problem = problem_from_document(document)
    result = plan_instance(problem, InstanceConfig(limit_s=1.0), time.monotonic)
    was_stuck = not released.is_set()
    released.set()
    assert was_stuck
    assert violations(document, plan_document(problem, result.plan)) == []


def test_bounds_are_heard_before_the_exact_model_ends(monkeypatch):
    """Tests that a bound which a part found before it got stuck is in the result."""
    released = threading.Event()

    def find_and_hang(instance, incumbent, limits, source, on_bound):
        on_bound(incumbent.objective - 1.0)
        released.wait(60.0)

    monkeypatch.setattr(planning, "prove", find_and_hang)
    result = plan_instance(problem_from_document(busy_document(25, 3)), InstanceConfig(limit_s=1.0), time.monotonic)
    released.set()
    assert result.bound >= result.terms.objective - 1.0


def test_a_closed_incumbent_takes_nothing():
    """Tests that an incumbent takes only what is better, and after closing nothing at all."""
    problem = problem_from_document(busy_document(5, 0))
    plan = run_portfolio(problem, lambda: False).best.plan
    incumbent = Incumbent(plan, 10.0, "rule")
    assert not incumbent.offer(plan, 10.0, "equal")
    assert incumbent.offer(plan, 9.0, "better")
    incumbent.close()
    assert not incumbent.offer(plan, 1.0, "late")
    assert (incumbent.objective, incumbent.source, incumbent.gains) == (9.0, "better", {"better": 1.0})


def test_an_empty_instance_is_planned():
    """Tests that no workflows at all cost nothing, which is optimal."""
    accelerators = [{"name": "a", "cluster": "c", "memory_gib": 8.0, "slots": 1, "resident": []}]
    values = {"models": [{"name": "m", "weights_gib": 4.0}], "accelerators": accelerators}
    problem = problem_from_document(document_of(values | {"workflows": [], "stages": []}))
    result = plan_instance(problem, InstanceConfig(limit_s=5.0), time.monotonic)
    assert result.terms.objective == 0.0
    assert result.status == PlanStatus.OPTIMAL
