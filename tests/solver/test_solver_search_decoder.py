"""The compiled list scheduler on snapshots: what it places passes the checker, and costs what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_builders import accelerator, model, replica, snapshot, stage, tool
from snapshot_strategy import snapshots

from maestro.fleet import GpuBudget
from maestro.plan import PlanSource
from maestro.snapshot import ReplicaPhase, Snapshot
from maestro_solver.check import check
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.objective import evaluate
from maestro_solver.planner.candidate import as_plan, judge
from maestro_solver.planner.generate import generate
from maestro_solver.search.layout import Layout, lay_out
from maestro_solver.search.timetable import schedule_of
from maestro_solver.shop.data import Timeline
from maestro_solver.shop.decoder import decode_whole, order_by_key
from maestro_solver.shop.search import Budget, KeySearch
from maestro_solver.shop.timeline import like, timeline_at

SOME = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def laid_out(found: Snapshot, horizon_s: float = 30.0) -> Layout | None:
    return lay_out(discretize(found, Grid.suited(found), horizon_s))


def decoded(layout: Layout, seed: int, patience: float) -> tuple[Timeline, float]:
    """A random order's timeline and cost."""
    shop = layout.shop
    line = timeline_at(like(shop, 1), 0)
    completion = np.zeros(shop.deadline.size, dtype=np.int64)
    order = order_by_key(shop, np.random.default_rng(seed).random(shop.stage_workflow.size))
    return line, decode_whole(shop, line, order, patience, completion, np.inf)


def searched(layout: Layout, moves: int, seed: int = 0) -> tuple[Timeline, float]:
    """The timeline and cost that a search ends with."""
    order = order_by_key(layout.shop, layout.shop.stage_workflow.astype(np.float64))
    found = KeySearch(layout.shop, order, 1.0, seed, workers=1).run(Budget(lambda: 0.0, 0.0, moves))
    return found.line, found.cost


def assert_valid_at_its_cost(layout: Layout, line: Timeline, cost: float) -> None:
    """The plan passes the checker, the schedule places all that can be placed, and the evaluator agrees on the cost."""
    schedule = schedule_of(layout, line)
    candidate = judge(layout.instance, schedule, PlanSource.IMPROVED)
    assert check(layout.instance.snapshot, as_plan(layout.instance, candidate)) == ()
    obstacles = sum(found.obstacle is not None for found in layout.instance.stages)
    assert len(schedule.spans) + obstacles == len(layout.instance.stages)
    if not obstacles:  # those count from the end of all else, which the shop does not know
        assert cost == pytest.approx(evaluate(layout.instance, schedule).objective)


@SOME
@given(snapshots(), st.integers(0, 1000), st.sampled_from([0.0, 1.0, 4.0]))
def test_any_order_gives_a_plan_that_the_checker_passes_at_the_evaluators_cost(
    found: Snapshot, seed: int, patience: float
) -> None:
    layout = laid_out(found)
    if layout is not None:
        line, cost = decoded(layout, seed, patience)
        if cost < np.inf:
            assert_valid_at_its_cost(layout, line, cost)


@SOME
@given(snapshots(), st.integers(0, 1000))
def test_taking_stages_off_and_inserting_them_again_leaves_nothing_behind(found: Snapshot, seed: int) -> None:
    layout = laid_out(found)
    if layout is not None and layout.shop.stage_workflow.size:
        line, cost = searched(layout, moves=60, seed=seed)
        if cost < np.inf:
            assert_valid_at_its_cost(layout, line, cost)


@pytest.mark.parametrize("family", ["contended", "pools", "two_models_one_slot", "tensor-parallel"])
@pytest.mark.parametrize("seed", range(3))
def test_searches_on_generated_snapshots_end_with_valid_plans(family: str, seed: int) -> None:
    layout = laid_out(generate(family, 40, seed=seed))
    assert layout is not None
    line, cost = searched(layout, moves=400, seed=seed)
    assert cost < np.inf
    assert_valid_at_its_cost(layout, line, cost)


def test_a_pinned_model_that_is_loaded_stays() -> None:
    """Tests that what would need its memory later is not placed where it is pinned."""
    found = snapshot(
        [accelerator("gpu0", memory=100), accelerator("gpu1", memory=100)],
        [stage("a", "alpha"), stage("b", "beta", after=["a"]), stage("c", "alpha", after=["b"])],
        models=[model("alpha", pinned_on=["gpu0"]), model("beta", pinned_on=["gpu1"])],
    )
    layout = laid_out(found)
    assert layout is not None
    for seed in range(5):
        line, cost = decoded(layout, seed, patience=0.0)
        assert_valid_at_its_cost(layout, line, cost)


def test_a_pinned_model_that_is_needed_sooner_is_loaded_sooner_and_once() -> None:
    """Tests a stage that is placed into the time before a load of its model, which is there for good afterwards."""
    found = snapshot(
        [accelerator("gpu0", memory=100)],
        [tool("wait", 30.0), stage("late", after=["wait"]), stage("early", workflow="v")],
        models=[model("alpha", pinned_on=["gpu0"])],
    )
    layout = laid_out(found, horizon_s=60.0)
    assert layout is not None
    shop = layout.shop
    line = timeline_at(like(shop, 1), 0)
    completion = np.zeros(shop.deadline.size, dtype=np.int64)
    early = [layout.instance.stages[position].key.workflow == "v" for position in layout.positions]
    order = order_by_key(shop, np.array(early, dtype=np.float64))
    cost = decode_whole(shop, line, order, 0.0, completion, np.inf)
    assert_valid_at_its_cost(layout, line, cost)
    assert line.load_count.tolist() == [1]


def test_a_stage_without_a_place_within_the_budget_costs_infinity() -> None:
    found = snapshot([accelerator("gpu0", replica("alpha"))], [stage("a")], budget=GpuBudget(0))
    layout = laid_out(found)
    assert layout is not None
    assert decoded(layout, 0, 0.0)[1] == np.inf


def test_what_drains_holds_its_memory_until_it_is_idle_and_takes_nothing_new() -> None:
    draining = replica("alpha", ReplicaPhase.DRAINING)
    found = snapshot([accelerator("gpu0", draining, memory=100)], [stage("a"), stage("b", "beta")])
    layout = laid_out(found)
    assert layout is not None
    line, cost = decoded(layout, 0, 0.0)
    assert_valid_at_its_cost(layout, line, cost)
    assert line.load_count.tolist() == [2]


@pytest.mark.parametrize("workers", [1, 2])
def test_equal_seeds_give_equal_searches(workers: int) -> None:
    layout = laid_out(generate("contended", 40, seed=3))
    assert layout is not None
    order = order_by_key(layout.shop, layout.shop.stage_workflow.astype(np.float64))
    one, other = (KeySearch(layout.shop, order, 1.0, 5, workers).run(Budget(lambda: 0.0, 0.0, 200)) for _ in range(2))
    assert one.cost == other.cost
    assert (one.line.start == other.line.start).all()


def test_a_search_gains_where_stages_queue() -> None:
    layout = laid_out(generate("contended-2", seed=1), horizon_s=120.0)
    assert layout is not None
    order = order_by_key(layout.shop, layout.shop.stage_workflow.astype(np.float64))
    shop = layout.shop
    completion = np.zeros(shop.deadline.size, dtype=np.int64)
    before = decode_whole(shop, timeline_at(like(shop, 1), 0), order, 1.0, completion, np.inf)
    assert searched(layout, moves=1000)[1] < before
