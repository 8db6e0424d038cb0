"""Simulated policies: each name stands for what it says, and differs from the planner in that alone."""

from __future__ import annotations

import pytest
from simulated_world import experiment

from maestro.costs import LengthFeatures
from maestro.errors import InvalidInputError
from maestro.plan import PlanSource
from maestro_services.simulation.experiment import run
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.policies import LENGTH_FACTORS, LIMITS_S, POLICIES, RESERVE_FACTORS, policy_named
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, URGENCY
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner.generate import generate
from maestro_solver.predictor import PredictorConfig

FEATURES = LengthFeatures("app", "role", "phase", "model", prompt_tokens=1000, max_tokens=4096)


def forecast(name: str, features: LengthFeatures = FEATURES) -> tuple[float, float, float]:
    found = policy_named(name).predictor(PredictorConfig(), lambda _: 77).forecast(features)
    return found.p50_tokens, found.p90_tokens, found.p95_tokens


def test_limits_are_what_their_names_say() -> None:
    config = PlannerConfig(limit_s=1.0)
    assert [policy_named(f"planner-limit-{limit:g}").planner_config(config).limit_s for limit in LIMITS_S] == [
        *LIMITS_S
    ]
    assert policy_named("planner").planner_config(config) == config
    assert policy_named("oracle").planner_config(config).limit_s == 4.0


def test_the_portfolio_alone_searches_nothing() -> None:
    snapshot, config = generate("contended", 40, 4, seed=3), PlannerConfig(limit_s=0.1)
    made, _ = ChargedPlanner(config, policy_named("portfolio-places-stages").plans_by).plan(snapshot)
    assert made.provenance.source is PlanSource.PORTFOLIO
    searched, _ = ChargedPlanner(config, policy_named("planner-places-stages").plans_by).plan(snapshot)
    assert searched.provenance.objective < made.provenance.objective


def test_stages_start_in_the_order_of_the_name_where_plans_do_not_place_them() -> None:
    assert policy_named("planner").start_order(URGENCY) is URGENCY
    assert policy_named("planner-order-edf").start_order(URGENCY) is DISPATCH_POLICIES["edf"]
    assert policy_named("planner-places-stages").start_order(URGENCY) is None


@pytest.mark.parametrize("factor", LENGTH_FACTORS)
def test_every_forecast_is_off_by_the_factor(factor: float) -> None:
    assert forecast(f"planner-lengths-x{factor:g}") == pytest.approx([factor * each for each in forecast("planner")])


@pytest.mark.parametrize("factor", RESERVE_FACTORS)
def test_more_than_the_p95_can_be_reserved(factor: float) -> None:
    *learnt, p95 = forecast("planner")
    assert forecast(f"planner-reserves-x{factor:g}") == pytest.approx([*learnt, min(4096.0, factor * p95)])


def test_the_oracle_knows() -> None:
    assert forecast("oracle") == (77.0, 77.0, 77.0)


def test_rules_of_thumb_change_what_is_reserved_and_nothing_else() -> None:
    learnt = forecast("planner")
    assert forecast("planner-reserves-8192") == (*learnt[:2], 4096.0)
    assert forecast("planner-reserves-4096-more") == (*learnt[:2], 4096.0)
    long = LengthFeatures("app", "role", "phase", "model", prompt_tokens=6192, max_tokens=4096)
    assert forecast("planner-reserves-8192", long)[2] == 2000.0
    longer = LengthFeatures("app", "role", "phase", "model", prompt_tokens=9000, max_tokens=4096)
    assert forecast("planner-reserves-8192", longer)[2] == forecast("planner", longer)[1]


def test_reserving_by_rule_of_thumb_takes_more_memory_for_the_same_calls() -> None:
    small = experiment(rate_per_s=0.1, duration_s=200.0)
    thumb, learnt = (run(small, policy_named(name), 1) for name in ("planner-reserves-4096-more", "planner"))
    assert thumb["stages"] == learnt["stages"]
    assert thumb["kv_reserved_gib_s"] > 1.5 * learnt["kv_reserved_gib_s"]
    assert thumb["overflow_rate"] == 0.0


def test_a_name_there_is_none_of_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="planner-limit-10"):
        policy_named("best")


def test_every_baseline_exists_with_true_lengths() -> None:
    assert {f"{name}-true-lengths" for name in DISPATCH_POLICIES} <= POLICIES.keys()
