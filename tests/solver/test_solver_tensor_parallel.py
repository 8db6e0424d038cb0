"""Models that take several accelerators at once, through the grid, the heuristics, the exact model and the planner."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from snapshot_builders import (
    accelerator,
    assignment,
    initial,
    model,
    plan_of,
    replica,
    running,
    snapshot,
    stage,
)
from tiny_groups import MODELS, all_costs, tiny

from maestro.errors import InvalidInputError
from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.check import check
from maestro_solver.cpsat.data import ModelLimits, prepare
from maestro_solver.cpsat.model import ExactModel
from maestro_solver.cpsat.overfull import closed_accelerators
from maestro_solver.discretize import discretize
from maestro_solver.explain import Binding, explain_stage
from maestro_solver.grid import Grid
from maestro_solver.heuristics.incremental import Placement, SnapshotView
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import generate
from maestro_solver.planner.portfolio import Portfolio
from maestro_solver.search.layout import lay_out

TINY = PlannerConfig(limit_s=1.0, horizon_s=20.0, tick_s=1.0, deterministic=True)


def plan_it(given: Snapshot, config: PlannerConfig) -> Plan:
    ticks = count()
    found = plan(given, config, lambda: next(ticks) * 1e-3)
    assert check(given, found) == ()
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_is_that_of_exhaustive_search_and_no_bound_exceeds_it(seed: int) -> None:
    given = tiny(seed)
    optimum = min(all_costs(given))
    found = plan_it(given, TINY)
    assert found.deferred == ()
    assert found.provenance.objective == pytest.approx(optimum)
    assert found.provenance.bound is not None
    assert found.provenance.bound <= optimum + 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_every_member_of_the_portfolio_is_a_complete_and_feasible_hint(seed: int) -> None:
    given = generate("tensor-parallel", 30, seed=seed)
    instance = discretize(given, Grid.suited(given), 60.0)
    portfolio = Portfolio(instance, lay_out(instance))
    for name in ("edf", "wspt+batched", "llf+hopeless_last"):
        exact = ExactModel(prepare(instance, portfolio.member(name).complete, ModelLimits(8, 2)))
        assert exact.is_hint_complete()
        assert exact.hint_is_feasible()


def test_a_load_evicts_what_is_on_any_of_its_accelerators() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"), node="n"), accelerator("gpu1", replica("beta"), node="n")],
        [],
        models=[*MODELS, model("beta")],
    )
    placed = SnapshotView(given).place(stage("b", "wide"))
    assert isinstance(placed, Placement)
    assert (placed.accelerator, placed.needs_load, set(placed.evict)) == (
        "gpu0",
        True,
        {("alpha", "gpu0"), ("beta", "gpu1")},
    )


def test_a_load_waits_until_all_of_its_accelerators_are_idle() -> None:
    given = snapshot(
        [accelerator("gpu0", node="n"), accelerator("gpu1", replica("alpha"), node="n")],
        [],
        [running("now", "gpu1", "alpha", 6.0)],
        models=MODELS,
    )
    placed = SnapshotView(given).place(stage("b", "wide"))
    assert isinstance(placed, Placement)
    assert placed.load_start_s == 6.0


def test_a_budget_that_is_too_small_for_all_of_its_accelerators_leaves_a_stage_out() -> None:
    given = snapshot(
        [accelerator("gpu0", node="n"), accelerator("gpu1", node="n")],
        [stage("a"), stage("b", "wide", workflow="v")],
        models=MODELS,
        budget=GpuBudget(1),
    )
    found = plan_it(given, TINY)
    assert [each.stage.stage for each in found.assignments] == ["a"]
    assert [each.stage.stage for each in found.deferred] == ["b"]


def test_an_explanation_names_what_holds_the_second_accelerator() -> None:
    """Tests a small stage on gpu1 that waits for wide's, which is named by gpu0."""
    given = snapshot(
        [
            accelerator("gpu0", replica("wide", pool=40), node="n", slots=1, memory=200),
            accelerator("gpu1", replica("alpha"), node="n", slots=1, memory=200),
        ],
        [stage("a"), stage("b", "wide")],
        models=MODELS,
    )
    made = plan_of(
        [assignment("b", "gpu0", 0.0, "wide"), assignment("a", "gpu1", 5.0)],
        [initial("gpu0", "wide", pool=40), initial("gpu1")],
    )
    found = explain_stage(given, made, StageKey("w", "a"), tick_s=1.0)
    assert [(each.binding, each.until_s, each.holders) for each in found.obstacles] == [(Binding.SLOTS, 5.0, ("w/b",))]


def test_what_shares_a_replica_with_an_overfull_accelerator_is_left_as_it_is_too() -> None:
    """Tests gpu1, which holds more than it can, and gpu0, on which the first half of wide is."""
    given = snapshot(
        [
            accelerator("gpu0", replica("wide", pool=40), node="n"),
            accelerator("gpu1", replica("alpha"), node="n"),
            accelerator("gpu2", node="n"),
        ],
        [stage("a"), stage("b", "wide")],
        models=MODELS,
    )
    assert closed_accelerators(discretize(given, Grid.suited(given), 60.0)) == {0, 1}
    plan_it(given, TINY)


@pytest.mark.parametrize(
    ("groups", "field"),
    [
        ({("wide", "gpu0"): ("gpu1", "gpu0")}, "groups"),
        ({("wide", "gpu0"): ("gpu0",)}, "groups"),
        ({("wide", "gpu0"): ("gpu0", "gpu2")}, "groups"),
        ({}, "accelerators[0].replicas"),
    ],
)
def test_groups_that_contradict_the_snapshot_are_refused(
    groups: dict[tuple[str, str], tuple[str, ...]], field: str
) -> None:
    """Tests a wrong name, a wrong size, two nodes, and a replica where no group begins."""
    given = snapshot(
        [
            accelerator("gpu0", replica("wide", pool=40), node="n"),
            accelerator("gpu1", node="n"),
            accelerator("gpu2", node="m"),
        ],
        [],
        models=MODELS,
    )
    with pytest.raises(InvalidInputError) as caught:
        discretize(replace(given, groups=groups), Grid.suited(given), 60.0)
    assert caught.value.field == field
