"""The list scheduler, the rules, and the search over what it places."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_core_instances import busy_document, document_of, tiny_documents

from maestro.errors import InvalidInputError
from maestro_solver.core_instance.answering import PLANNER, PORTFOLIO, answer
from maestro_solver.core_instance.bounds.lower_bound import critical_path_bound, lower_bound
from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import plan_document
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.portfolio import ListScheduler, run_portfolio, run_rule
from maestro_solver.core_instance.problem import cost
from maestro_solver.core_instance.result import InstanceConfig
from maestro_solver.core_instance.rules import RULES, rule_keys
from maestro_solver.core_instance.shop import plan_of, shop_of
from maestro_solver.shop.decoder import order_by_key
from maestro_solver.shop.energy import THOROUGH
from maestro_solver.shop.search import Budget, KeySearch

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def _frozen_clock():
    return 0.0


def _schedule(problem, order, patience):
    scheduler = ListScheduler(problem)
    objective = scheduler.schedule(order, patience)
    return scheduler.plan(), objective


def _search(problem, moves, seed=0, workers=1):
    """The portfolio's best, and what a search from there ends with: its plan and objective."""
    found = run_portfolio(problem, lambda: False)
    search = KeySearch(found.shop, found.best.order, found.best.patience, seed, workers)
    best = search.run(Budget(_frozen_clock, 0.0, moves))
    return found.best, plan_of(found.shop, best.line), best.cost


@SOME
@given(tiny_documents(stages=6), st.integers(0, 1000), st.sampled_from([0.0, 1.0, 4.0]))
def test_any_order_gives_a_valid_plan_whose_cost_is_exact(document, seed, patience):
    """Tests random keys on tiny instances: every stage placed, no rule broken, objective as from true seconds."""
    problem = problem_from_document(document)
    key = np.random.default_rng(seed).random(problem.stages)
    plan, objective = _schedule(problem, order_by_key(shop_of(problem), key), patience)
    assert violations(document, plan_document(problem, plan)) == []
    assert objective == pytest.approx(cost(problem, plan).objective)


@pytest.mark.parametrize("seed", range(6))
def test_busy_accelerators_are_never_overfull(seed):
    """Tests random keys where models are evicted and loaded again all the time."""
    document = busy_document(25, seed)
    problem = problem_from_document(document)
    key = np.random.default_rng(seed).random(problem.stages)
    plan, objective = _schedule(problem, order_by_key(shop_of(problem), key), 1.0)
    assert violations(document, plan_document(problem, plan)) == []
    assert objective == pytest.approx(cost(problem, plan).objective)


def test_a_stage_is_put_into_an_earlier_gap():
    """Tests insertion: a short stage placed last runs before a long one that waits for its predecessor."""
    document = _one_accelerator([("long", 5.0, []), ("after", 5.0, ["long"]), ("short", 2.0, [])], slots=2)
    problem = problem_from_document(document)
    plan, _ = _schedule(problem, np.array([0, 1, 2]), 0.0)
    assert plan.start.tolist() == [0, 5, 0]


def test_an_idle_model_gives_way_and_one_in_use_does_not():
    """Tests that another model is loaded once the last stage of the one that fills the memory has ended."""
    document = document_of(
        {
            "models": [{"name": "a", "weights_gib": 6.0}, {"name": "b", "weights_gib": 6.0}],
            "accelerators": [{"name": "g", "cluster": "c", "memory_gib": 10.0, "slots": 4, "resident": ["a"]}],
            "workflows": [{"name": "w", "deadline_s": 9.0, "weight": 1.0}],
            "stages": [
                {"name": n, "workflow": "w", "model": m, "duration_s": 4.0, "kv_gib": 1.0, "predecessors": []}
                for n, m in [("x", "a"), ("y", "b")]
            ],
        }
    )
    problem = problem_from_document(document)
    plan, _ = _schedule(problem, np.array([0, 1]), 0.0)
    assert plan.start.tolist() == [0, 4 + problem.model_load[1]]
    assert plan.residency_end[plan.residency_initial].tolist() == [4]


def _one_accelerator(stages, slots):
    return document_of(
        {
            "models": [{"name": "m", "weights_gib": 2.0}],
            "accelerators": [{"name": "g", "cluster": "c", "memory_gib": 20.0, "slots": slots, "resident": ["m"]}],
            "workflows": [{"name": "w", "deadline_s": 9.0, "weight": 1.0}],
            "stages": [
                {"name": n, "workflow": "w", "model": "m", "duration_s": d, "kv_gib": 1.0, "predecessors": p}
                for n, d, p in stages
            ],
        }
    )


@pytest.mark.parametrize("rule", rule_keys(problem_from_document(busy_document(2, seed=0))))
def test_every_rule_orders_stages_after_their_predecessors(rule):
    """Tests that an order is a permutation in which nothing stands before what it waits for."""
    problem = problem_from_document(busy_document(12, seed=3))
    order = order_by_key(shop_of(problem), rule_keys(problem)[rule])
    position = np.argsort(order)
    assert sorted(order) == list(range(problem.stages))
    for stage in range(problem.stages):
        assert all(position[before] < position[stage] for before in problem.predecessors_of(stage))


def test_the_portfolio_is_its_best_rule():
    """Tests that no rule alone is better than the portfolio, and that every rule was tried."""
    problem = problem_from_document(busy_document(20, seed=4))
    portfolio = run_portfolio(problem, lambda: False)
    assert set(RULES) <= set(portfolio.objectives)
    assert portfolio.best.objective == min(run_rule(problem, rule).best.objective for rule in rule_keys(problem))


def test_a_portfolio_without_time_still_has_a_plan():
    """Tests that one rule is decoded whatever the clock says."""
    problem = problem_from_document(busy_document(5, seed=5))
    assert len(run_portfolio(problem, lambda: True).objectives) == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_search_ends_with_a_valid_plan_no_worse_than_it_began(seed):
    """Tests taking workflows off and inserting them hundreds of times: nothing is lost or left behind."""
    document = busy_document(20, seed)
    problem = problem_from_document(document)
    start, plan, objective = _search(problem, moves=600, seed=seed)
    assert objective <= start.objective
    assert objective == pytest.approx(cost(problem, plan).objective)
    assert violations(document, plan_document(problem, plan)) == []


def test_the_search_gains_where_stages_queue():
    """Tests that on a busy fleet the search finds more than the rules do."""
    start, _, objective = _search(problem_from_document(busy_document(25, seed=7)), moves=2000)
    assert objective < start.objective


@pytest.mark.parametrize("workers", [1, 2])
def test_equal_seeds_give_equal_searches(workers):
    """Tests the deterministic mode, with one thread and with two that exchange schedules."""
    problem = problem_from_document(busy_document(15, seed=8))
    (_, one, one_costs), (_, other, other_costs) = (_search(problem, 400, seed=3, workers=workers) for _ in range(2))
    assert one_costs == other_costs
    assert (one.start == other.start).all()


@SOME
@given(tiny_documents(stages=5))
def test_every_answer_has_passed_the_checker(document):
    """Tests the way from document to plan document under all policies."""
    config = InstanceConfig(workers=1, decodes=20)
    for policy in (PLANNER, PORTFOLIO, "wspt"):
        found = answer(document, policy, config, _frozen_clock)
        assert violations(document, found.document) == []
        assert found.result.bound <= found.result.terms.objective + 1e-6


@pytest.mark.parametrize("policy", [PORTFOLIO, "llf"])
def test_a_rules_plan_has_the_linear_relaxation_as_its_bound(policy):
    """Tests that a plan that no search made is bounded as tightly as the limit allows, and by paths without time."""
    document = busy_document(25, seed=3)
    problem = problem_from_document(document)
    bounds = [
        answer(document, policy, InstanceConfig(limit_s=limit_s), _frozen_clock).result.bound for limit_s in (60.0, 0.0)
    ]
    assert bounds == pytest.approx([lower_bound(problem, 60.0, THOROUGH), critical_path_bound(problem)])
    assert bounds[0] > bounds[1]


def test_an_unknown_policy_is_refused_with_the_list():
    """Tests that a typing error in a policy's name is answered with those that exist."""
    with pytest.raises(InvalidInputError, match="llf-i"):
        answer(busy_document(2, seed=0), "edff", InstanceConfig(decodes=1), _frozen_clock)


def test_an_instance_without_stages_has_an_empty_plan():
    """Tests that nothing to do is not an error."""
    document = document_of(
        {
            "models": [],
            "accelerators": [{"name": "g", "cluster": "c", "memory_gib": 1.0, "slots": 1, "resident": []}],
            "workflows": [],
            "stages": [],
        }
    )
    found = answer(document, PLANNER, InstanceConfig(workers=1, decodes=5), _frozen_clock)
    assert found.document == {"assignments": [], "residency": []}
    assert found.result.terms.objective == 0.0


def test_weights_of_nothing_do_not_stop_the_planner():
    """Tests that an objective in which nothing counts, and workflows that weigh nothing, are planned all the same."""
    document = busy_document(6, seed=9)
    free = document.weights.model_copy(update=dict.fromkeys(["late", "tardy", "latency", "swap"], 0.0))
    light = [workflow.model_copy(update={"weight": 0.0}) for workflow in document.workflows]
    found = answer(
        document.model_copy(update={"weights": free, "workflows": light}),
        PLANNER,
        InstanceConfig(workers=1, decodes=50),
        _frozen_clock,
    )
    assert found.result.terms.objective == 0.0
