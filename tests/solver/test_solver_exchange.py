"""Exchange between clusters: stages go wherever the best plan so far has their model, and the plan gets cheaper."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from maestro.snapshot import Snapshot
from maestro_solver.check import check
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.instance import Instance
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.candidate import Candidate, violations
from maestro_solver.planner.exchange import EXCHANGE, open_clusters, starts_in
from maestro_solver.planner.generate import generate
from maestro_solver.planner.improving import KeyImprovement
from maestro_solver.planner.incumbent import PORTFOLIO, Incumbent
from maestro_solver.planner.portfolio import Portfolio
from maestro_solver.planner.selection import select
from maestro_solver.search.layout import lay_out
from maestro_solver.stage_options import Ties

SHORT_S = 0.065
"""A limit within which the snapshot is tied, and all of it is planned."""


def given(seed: int = 1) -> Snapshot:
    return generate("huge", 200, 16, seed)


@pytest.fixture(scope="module")
def tied() -> tuple[Instance, Candidate]:
    """A snapshot whose workflows are tied to clusters, and the best plan of its portfolio."""
    selection = select(given(), SHORT_S)
    assert selection.cluster_of
    assert not selection.left_out
    instance = discretize(selection.snapshot, Grid.suited(given()), 60.0, Ties(selection.cluster_of))
    return instance, list(Portfolio(instance, lay_out(instance)).run(lambda: False))[-1]


def test_stages_have_places_in_all_clusters_where_the_plan_has_their_model(tied: tuple[Instance, Candidate]) -> None:
    instance, best = tied
    layout = open_clusters(instance, best)
    assert layout is not None
    places = {(found.model, found.accelerator) for found in best.complete.residents}
    stages = layout.instance.stages
    assert {(option.model, option.accelerator) for stage in stages for option in stage.options} <= places
    clusters = [{instance.accelerators[option.accelerator].cluster for option in stage.options} for stage in stages]
    assert any(len(found) > 1 for found in clusters)
    for position, option in best.complete.options.items():
        assert option in stages[position].options


def test_every_order_that_is_placed_anew_keeps_predecessors_first(tied: tuple[Instance, Candidate]) -> None:
    instance, best = tied
    layout = open_clusters(instance, best)
    assert layout is not None
    starts = list(starts_in(layout, best))
    assert len(starts) == 2
    for start in starts:
        turn = {int(layout.positions[stage]): at for at, stage in enumerate(start.order)}
        for position, stage in enumerate(instance.stages):
            assert all(turn[before] < turn[position] for before in stage.predecessors)


def test_a_plan_that_is_placed_anew_is_valid_and_much_cheaper(tied: tuple[Instance, Candidate]) -> None:
    """Tests that no search is needed for that: models that stand idle in other clusters are used."""
    instance, best = tied
    layout = open_clusters(instance, best)
    assert layout is not None
    incumbent = Incumbent(instance, lambda _: None)
    incumbent.offer(best, PORTFOLIO)
    improvement = KeyImprovement(layout, PlannerConfig(), time.monotonic, incumbent, 0.0)
    cost = min(improvement.place(start, EXCHANGE) for start in starts_in(layout, best))
    assert incumbent.rejected == 0
    assert incumbent.best is not None
    assert incumbent.best.objective == pytest.approx(cost)
    assert incumbent.best.objective < 0.95 * best.objective
    assert violations(instance, incumbent.best) == ()


def test_a_plan_that_leaves_a_stage_out_gives_no_order_of_its_starts(tied: tuple[Instance, Candidate]) -> None:
    instance, best = tied
    layout = open_clusters(instance, best)
    assert layout is not None
    complete = replace(best.complete, spans=dict(list(best.complete.spans.items())[1:]))
    assert len(list(starts_in(layout, replace(best, complete=complete)))) == 1


@pytest.mark.parametrize(
    ("snapshot", "limit_s"),
    [(given(), SHORT_S), (generate("tensor-parallel", seed=1), 0.0165)],
    ids=["one accelerator a model", "tensor-parallel"],
)
def test_the_planner_reports_what_exchange_has_gained(snapshot: Snapshot, limit_s: float) -> None:
    """Tests one call, under a clock so slow that a busy machine has time for it."""
    found = plan(snapshot, PlannerConfig(limit_s=limit_s, margin_s=0.0), lambda: 0.02 * time.monotonic())
    assert check(snapshot, found) == ()
    assert found.provenance.gains[EXCHANGE] > 0.0
    assert found.provenance.portfolio_objective is not None
    assert found.provenance.objective < found.provenance.portfolio_objective
