"""Lower bounds on core instances."""

import pytest
from hypothesis import HealthCheck, given, settings
from tiny_core_instances import busy_document, cheapest_by_enumeration, document_of, tiny_documents

from maestro_solver.core_instance.bounds.completion import CompletionCosts, earliest_completions
from maestro_solver.core_instance.bounds.lower_bound import critical_path_bound, lower_bound
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.portfolio import run_portfolio
from maestro_solver.core_instance.problem import completions_s

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@FEW
@given(tiny_documents())
def test_no_plan_costs_less_than_the_bound(document):
    """Tests that the best of all enumerated plans costs at least the bound."""
    assert lower_bound(problem_from_document(document)) <= cheapest_by_enumeration(document) + 1e-6


@settings(parent=FEW, max_examples=60)
@given(tiny_documents(stages=6))
def test_no_rule_beats_the_bound(document):
    """Tests that no rule's plan costs less than the bound, where stages queue for slots and memory."""
    problem = problem_from_document(document)
    assert lower_bound(problem) <= run_portfolio(problem, lambda: False).best.objective + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_the_relaxation_is_never_weaker_than_critical_paths(seed):
    """Tests that sharing the fleet raises the bound above that of every workflow alone, or leaves it."""
    problem = problem_from_document(busy_document(12, seed))
    assert lower_bound(problem) >= critical_path_bound(problem) - 1e-9


def test_the_relaxation_sees_that_not_all_can_be_on_time():
    """Tests that ten workflows with one slot and time for one of them are not all counted on time."""
    problem = problem_from_document(_one_slot(workflows=10, deadline_s=4.0))
    assert critical_path_bound(problem) < 10 * 3
    assert lower_bound(problem) > 5 * 20


def test_without_time_the_bound_is_that_of_critical_paths():
    """Tests that a bound comes back, at least that of the critical paths, however little time there is."""
    problem = problem_from_document(busy_document(20, 0))
    assert lower_bound(problem, limit_s=0.0) >= critical_path_bound(problem)


def test_a_model_that_is_nowhere_is_loaded_once_in_the_bound():
    """Tests that the load counts as swap and delays the first stage."""
    resident, absent = (problem_from_document(_one_slot(1, 100.0, held)) for held in (["m"], []))
    # Two seconds of loading: 2 of swap and 2 x 0.5 of latency.
    assert critical_path_bound(absent) == pytest.approx(critical_path_bound(resident) + 3.0)


@settings(parent=FEW, max_examples=40)
@given(tiny_documents(stages=5))
def test_completions_in_plans_are_no_earlier_than_the_earliest(document):
    """Tests that no rule completes a workflow before its bound."""
    problem = problem_from_document(document)
    done = completions_s(problem, run_portfolio(problem, lambda: False).best.plan) / problem.tick_s
    assert (done >= earliest_completions(problem) - 1e-9).all()


def test_times_off_the_grid_never_make_the_cost_too_high():
    """Tests that a completion rounded up to the grid is judged by its true seconds."""
    values = _one_slot_values(1, deadline_s=3.3)
    values["stages"][0]["duration_s"] = 3.2
    problem = problem_from_document(document_of(values))
    costs = CompletionCosts(problem)
    assert costs.at(earliest_completions(problem))[0] == pytest.approx(0.5 * 3.2)


def _one_slot(workflows, deadline_s, resident=("m",)):
    return document_of(_one_slot_values(workflows, deadline_s, resident))


def _one_slot_values(workflows, deadline_s, resident=("m",)):
    return {
        "models": [{"name": "m", "weights_gib": 4.0}],
        "accelerators": [{"name": "a", "cluster": "c", "memory_gib": 8.0, "slots": 1, "resident": list(resident)}],
        "workflows": [{"name": f"w{i}", "deadline_s": deadline_s, "weight": 1.0} for i in range(workflows)],
        "stages": [
            {
                "name": f"s{i}",
                "workflow": f"w{i}",
                "model": "m",
                "duration_s": 4.0,
                "kv_gib": 1.0,
                "predecessors": [],
            }
            for i in range(workflows)
        ],
    }
