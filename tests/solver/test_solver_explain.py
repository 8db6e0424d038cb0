"""Explanations of hand-made plans, in which it is known what binds."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from snapshot_builders import (
    accelerator,
    assignment,
    initial,
    load,
    model,
    plan_of,
    replica,
    running,
    snapshot,
    stage,
    tool,
)

from maestro.errors import InvalidInputError, NotFoundError
from maestro.fleet import GpuBudget
from maestro.plan import Deferral, Plan
from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.check import check
from maestro_solver.explain import Binding, StageExplanation, WhyHere, explain_plan, explain_stage
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner import plan as make_plan
from maestro_solver.planner.generate import generate


def explained(given: Snapshot, plan: Plan, name: str) -> StageExplanation:
    assert check(given, plan) == ()
    return explain_stage(given, plan, StageKey("w", name), tick_s=1.0)


def bindings(found: StageExplanation) -> dict[Binding, tuple[str, ...]]:
    return {obstacle.binding: obstacle.holders for obstacle in found.obstacles}


def test_a_stage_that_starts_at_once_has_nothing_in_its_way() -> None:
    """Tests the simplest plan: one stage, one replica, no other place."""
    given = snapshot([accelerator("a", replica("alpha"))], [stage("s")])
    found = explained(given, plan_of([assignment("s", "a", 0.0)], [initial("a")]), "s")
    assert bindings(found) == {Binding.NOTHING: ()}
    assert (found.why_here, found.others, found.earliest_s) == (WhyHere.ONLY_PLACE, (), 0.0)


def test_a_stage_waits_for_the_predecessor_that_ends_last() -> None:
    """Tests that of two predecessors only the later one is named."""
    stages = [stage("x"), stage("y", duration_s=8.0), stage("s", after=("x", "y"))]
    given = snapshot([accelerator("a", replica("alpha"))], stages)
    plan = plan_of(
        [assignment("x", "a", 0.0), assignment("y", "a", 0.0, duration_s=8.0), assignment("s", "a", 8.0)],
        [initial("a")],
    )
    found = explained(given, plan, "s")
    assert bindings(found) == {Binding.PREDECESSOR: ("w/y",)}


def test_a_stage_waits_for_a_tool() -> None:
    """Tests that a predecessor which stands in no assignment is named too."""
    given = snapshot([accelerator("a", replica("alpha"))], [tool("t", 6.0), stage("s", after=("t",))])
    found = explained(given, plan_of([assignment("s", "a", 6.0)], [initial("a")]), "s")
    assert bindings(found) == {Binding.PREDECESSOR: ("w/t",)}


def test_the_network_is_told_from_the_predecessor() -> None:
    """Tests a stage that could start with its predecessor's end if it were in the same cluster."""
    fleet = [accelerator("a", replica("alpha")), accelerator("b", replica("beta"), cluster="west")]
    given = snapshot(fleet, [stage("x"), stage("s", "beta", after=("x",))], network_delay_s=2.0)
    plan = plan_of([assignment("x", "a", 0.0), assignment("s", "b", 7.0, "beta")], [initial("a"), initial("b", "beta")])
    assert bindings(explained(given, plan, "s")) == {Binding.NETWORK: ("w/x",)}


def test_a_retry_is_held_back() -> None:
    """Tests that a stage that may not start yet says so."""
    given = snapshot([accelerator("a", replica("alpha"))], [stage("s", not_before_s=4.0)])
    found = explained(given, plan_of([assignment("s", "a", 4.0)], [initial("a")]), "s")
    assert bindings(found) == {Binding.RETRY: ()}


@pytest.mark.parametrize(
    ("fleet", "models", "kv", "binding"),
    [
        (accelerator("a", replica("alpha"), slots=1), (), 5, Binding.SLOTS),
        (accelerator("a", replica("alpha")), (model("alpha", batch=1),), 5, Binding.BATCH),
        (accelerator("a", replica("alpha")), (), 15, Binding.KV_POOL),
        (accelerator("a", replica("alpha", pool=0), elastic=True, memory=80), (), 20, Binding.DEVICE_MEMORY),
    ],
)
def test_what_stages_share_binds_until_one_of_them_ends(fleet, models, kv, binding) -> None:
    """Tests slots, batch, pool and elastic memory, each with the stage that held it."""
    given = snapshot([fleet], [stage("x", kv=kv), stage("s", kv=kv)], models=models)
    pool = fleet.replicas[0].kv_pool_bytes
    plan = plan_of([assignment("x", "a", 0.0, kv=kv), assignment("s", "a", 5.0, kv=kv)], [initial("a", pool=pool)])
    assert bindings(explained(given, plan, "s")) == {binding: ("w/x",)}


def test_a_stage_that_runs_already_is_named() -> None:
    """Tests that what holds a slot need not be of the plan."""
    fleet = [accelerator("a", replica("alpha"), slots=1)]
    given = snapshot(fleet, [stage("s")], [running("r", "a", "alpha", 3.0)])
    found = explained(given, plan_of([assignment("s", "a", 3.0)], [initial("a")]), "s")
    assert bindings(found) == {Binding.SLOTS: ("w/r",)}


def test_a_load_takes_its_time() -> None:
    """Tests a stage that waits for a load which begins at once."""
    given = snapshot([accelerator("a")], [stage("s")])
    found = explained(given, plan_of([assignment("s", "a", 10.0)], [load("a", "alpha", 0.0, 10.0)]), "s")
    assert bindings(found) == {Binding.LOAD_TIME: ("alpha",)}


def test_a_load_waits_for_the_link() -> None:
    """Tests two loads on one node: the second begins as the first has read its weights and its engine starts."""
    fleet = [accelerator("a", node="n"), accelerator("b", node="n")]
    given = snapshot(fleet, [stage("x"), stage("s", "beta")])
    plan = plan_of(
        [assignment("x", "a", 10.0), assignment("s", "b", 19.0, "beta")],
        [load("a", "alpha", 0.0, 10.0), load("b", "beta", 9.0, 19.0)],
    )
    found = bindings(explained(given, plan, "s"))
    assert found == {Binding.LOAD_TIME: ("beta",), Binding.LOAD_LINK: ("alpha on a",)}


def test_a_load_waits_for_memory_until_a_model_has_left() -> None:
    """Tests that the stage which kept the other model there is named with it."""
    given = snapshot([accelerator("a", replica("alpha"))], [stage("x"), stage("s", "beta")])
    plan = plan_of(
        [assignment("x", "a", 0.0), assignment("s", "a", 15.0, "beta")],
        [initial("a", end_s=5.0), load("a", "beta", 5.0, 15.0)],
    )
    found = bindings(explained(given, plan, "s"))
    assert found == {Binding.LOAD_TIME: ("beta",), Binding.DEVICE_MEMORY: ("w/x", "alpha")}


def test_a_pinned_model_is_named_where_memory_would_do_without_it() -> None:
    """Tests elastic memory that a pinned model beside takes away."""
    models = [model("alpha", weights=20), model("beta", weights=30, pinned_on=("a",))]
    fleet = [accelerator("a", replica("alpha", pool=0), replica("beta", pool=0), elastic=True, memory=80)]
    given = snapshot(fleet, [stage("x", kv=15), stage("s", kv=15)], models=models)
    plan = plan_of(
        [assignment("x", "a", 0.0, kv=15), assignment("s", "a", 5.0, kv=15)],
        [initial("a", pool=0), initial("a", "beta", pool=0)],
    )
    found = bindings(explained(given, plan, "s"))
    assert found == {Binding.DEVICE_MEMORY: ("w/x",), Binding.PINNED_MODEL: ("beta",)}


def test_room_that_the_plan_leaves_is_told() -> None:
    """Tests a start that nothing forces, beside what would bind before it."""
    given = snapshot([accelerator("a", replica("alpha"))], [stage("x"), stage("s", after=("x",))])
    plan = plan_of([assignment("x", "a", 0.0), assignment("s", "a", 30.0)], [initial("a")])
    found = explained(given, plan, "s")
    assert found.earliest_s == 5.0
    assert [obstacle.binding for obstacle in found.obstacles] == [Binding.ROOM_LEFT, Binding.PREDECESSOR]


def test_the_next_best_place_has_its_price() -> None:
    """Tests a place that costs one load and a later end: 10 s of loading and 10 s of latency at 0.2."""
    given = snapshot([accelerator("a", replica("alpha")), accelerator("b")], [stage("s")])
    found = explained(given, plan_of([assignment("s", "a", 0.0)], [initial("a")]), "s")
    assert found.why_here is WhyHere.CHEAPEST
    other = found.next_best
    assert other is not None
    assert (other.accelerator, other.start_s, other.end_s, other.loads) == ("b", 10.0, 15.0, 1)
    assert other.objective_change == pytest.approx(10.0 + 0.2 * 10.0)
    assert other.objective_change == pytest.approx(sum((other.term_changes or {}).values()))


def test_a_place_that_would_cost_less_is_admitted() -> None:
    """Tests that a plan which is not locally optimal says so."""
    given = snapshot([accelerator("a", replica("alpha")), accelerator("b")], [stage("s")])
    plan = plan_of([assignment("s", "b", 10.0)], [initial("a"), load("b", "alpha", 0.0, 10.0)])
    found = explained(given, plan, "s")
    assert found.why_here is WhyHere.NOT_CHEAPEST
    assert found.next_best is not None
    assert found.next_best.objective_change == pytest.approx(-12.0)


def test_impossible_places_say_why() -> None:
    """Tests an accelerator beyond the budget, one with a pinned model, and one that is too small."""
    models = [model("alpha"), model("beta", pinned_on=("pinned",))]
    fleet = [
        accelerator("a", replica("alpha")),
        accelerator("pinned", replica("beta")),
        accelerator("tiny", memory=20),
    ]
    plan = plan_of([assignment("s", "a", 0.0)], [initial("a"), initial("pinned", "beta")])
    given = snapshot(fleet, [stage("s")], models=models, budget=GpuBudget(3))
    impossible = {place.accelerator: place.obstacle for place in explained(given, plan, "s").others}
    assert impossible == {"pinned": Binding.PINNED_MODEL, "tiny": Binding.NEVER_FITS}
    tight = replace(given, budget=GpuBudget(1))
    impossible = {place.accelerator: place.obstacle for place in explained(tight, plan, "s").others}
    assert impossible == {"pinned": Binding.BUDGET, "tiny": Binding.NEVER_FITS}


def test_a_deferred_stage_says_what_it_would_cost_to_put_it_first() -> None:
    """Tests the reason of the plan, and the price for the stage that would have to wait."""
    fleet = [accelerator("a", replica("alpha"), slots=1)]
    given = snapshot(fleet, [stage("x"), stage("s", duration_s=20.0, workflow="w")])
    plan = plan_of(
        [assignment("x", "a", 0.0)],
        [initial("a")],
        deferred=[Deferral(StageKey("w", "s"), Reason.DEFERRED_BEYOND_HORIZON)],
        horizon_s=4.0,
    )
    found = explained(given, plan, "s")
    assert (found.why_here, found.reason) == (WhyHere.DEFERRED, Reason.DEFERRED_BEYOND_HORIZON)
    assert found.next_best is not None
    assert (found.next_best.accelerator, found.next_best.start_s) == ("a", 0.0)


def test_what_cannot_be_explained_is_refused() -> None:
    """Tests a stage that does not wait, and a plan that is not one for the snapshot."""
    given = snapshot([accelerator("a", replica("alpha"))], [stage("s")])
    plan = plan_of([assignment("s", "a", 0.0)], [initial("a")])
    with pytest.raises(NotFoundError, match="w/unknown"):
        explain_stage(given, plan, StageKey("w", "unknown"))
    with pytest.raises(InvalidInputError, match="not a valid plan"):
        explain_stage(given, plan_of([assignment("s", "a", 0.0)], []), StageKey("w", "s"))


@pytest.mark.parametrize("family", ["contended", "pools", "two_models_one_slot", "tensor-parallel"])
def test_every_stage_of_a_made_plan_can_be_explained(family: str) -> None:
    """Tests that something always binds, and that no stage is said to be able to start after it does."""
    given = generate(family, 14, 3, seed=2)
    config = PlannerConfig(limit_s=1.0, deterministic=True)
    plan = make_plan(given, config, time.monotonic)
    for planned in plan.assignments:
        found = explain_stage(given, plan, planned.stage, config.tick_s)
        assert found.obstacles
        assert found.earliest_s is not None
        assert found.earliest_s <= planned.start_s


def test_the_price_of_a_weight_is_what_the_others_would_gain() -> None:
    """Tests that loads are made for the sake of time, and that a weight of nothing has no price."""
    given = snapshot([accelerator("a", replica("alpha"), slots=1), accelerator("b")], [stage("x"), stage("y")])
    given = replace(given, weights=replace(given.weights, swap=0.01))
    config = PlannerConfig(limit_s=3.0, deterministic=True)
    plan = plan_of(
        [assignment("x", "a", 0.0), assignment("y", "b", 10.0)],
        [initial("a"), load("b", "alpha", 0.0, 10.0)],
    )
    terms = {"late": 0.0, "tardy": 0.0, "latency": 3.0, "swap": 0.1, "network": 0.0, "gpu": 0.0}
    plan = replace(plan, provenance=replace(plan.provenance, terms=terms, objective=3.1))
    found = explain_plan(given, plan, config, time.monotonic)
    prices = {price.term: price for price in found.weights}
    assert prices["latency"].amount == pytest.approx(15.0)
    assert prices["latency"].price == pytest.approx(0.1)
    assert (prices["network"].amount, prices["network"].price) == (None, 0.0)
    assert found.bindings == {Binding.NOTHING: 1, Binding.LOAD_TIME: 1}
