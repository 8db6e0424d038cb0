"""Any snapshot gets a valid plan, never worse than any member of the portfolio, with a bound that holds."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_strategy import snapshots

from maestro.plan import Plan, PlanSource
from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_solver.bounds import critical_path_bound
from maestro_solver.check import check
from maestro_solver.cpsat.data import ModelLimits, prepare
from maestro_solver.cpsat.model import ExactModel
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.candidate import Candidate, judge, violations
from maestro_solver.planner.generate import generate
from maestro_solver.planner.portfolio import MANNERS, Portfolio
from maestro_solver.search.layout import lay_out

relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

CONFIG = PlannerConfig(limit_s=0.2, horizon_s=30.0, deterministic=True)


def members(instance: Instance) -> list[Candidate]:
    """Every policy in every manner."""
    portfolio = Portfolio(instance, lay_out(instance))
    return [portfolio.member(name + manner.suffix) for manner in MANNERS for name in POLICIES]


def plan_it(snapshot: Snapshot, config: PlannerConfig = CONFIG) -> Plan:
    ticks = count()
    return plan(snapshot, config, lambda: next(ticks) * 1e-3)


@relaxed
@given(snapshots(), st.sampled_from([0.1, 4.0, 30.0, 100.0]))
def test_any_snapshot_gets_a_plan_that_the_checker_passes(snapshot: Snapshot, horizon_s: float) -> None:
    found = plan_it(snapshot, PlannerConfig(limit_s=0.2, horizon_s=horizon_s, deterministic=True))
    assert check(snapshot, found) == ()
    assert found.provenance.fallback_reason not in {
        Reason.PLAN_REJECTED_BY_CHECKER,
        Reason.SOLVER_RAISED,
    }, found.provenance.notes
    assert "rejected" not in found.provenance.notes


@relaxed
@given(snapshots())
def test_a_plan_is_never_worse_than_any_member_of_the_portfolio(snapshot: Snapshot) -> None:
    found = plan_it(snapshot)
    instance = discretize(snapshot, Grid.suited(snapshot, CONFIG.tick_s), CONFIG.horizon_s)
    for member in members(instance):
        assert violations(instance, member) == ()
        assert found.provenance.objective <= member.objective + 1e-5


@relaxed
@given(snapshots())
def test_every_member_of_the_portfolio_is_a_complete_and_feasible_hint(snapshot: Snapshot) -> None:
    instance = discretize(snapshot, Grid.suited(snapshot, 0.25), 30.0)
    for member in members(instance)[:3]:
        data = prepare(instance, member.complete, ModelLimits(max_candidates=8, max_loads=2))
        kept = all(
            option in data.options[position] for position, option in data.incumbent.options.items()
        )  # a stage on an accelerator that is over its limits already is the one thing the model cannot express
        if kept:
            model = ExactModel(data)
            assert model.is_hint_complete()
            assert model.hint_is_feasible()


@relaxed
@given(snapshots())
def test_the_bound_holds_for_every_candidate(snapshot: Snapshot) -> None:
    found = plan_it(snapshot)
    instance = discretize(snapshot, Grid.suited(snapshot, CONFIG.tick_s), CONFIG.horizon_s)
    assert found.provenance.bound is not None
    assert critical_path_bound(instance) <= found.provenance.bound + 1e-5
    for member in members(instance):
        assert found.provenance.bound <= member.objective + 1e-5


@relaxed
@given(snapshots())
def test_equal_calls_give_equal_plans_with_one_worker(snapshot: Snapshot) -> None:
    first, second = plan_it(snapshot), plan_it(snapshot)
    assert first.assignments == second.assignments
    assert first.residencies == second.residencies
    assert first.provenance.objective == second.provenance.objective


@pytest.mark.parametrize("stages", [1, 20])
def test_judging_a_plan_again_gives_the_same_objective(stages: int) -> None:
    snapshot = generate("contended", stages, 2, seed=5)
    instance = discretize(snapshot, Grid.suited(snapshot), 60.0)
    member = members(instance)[0]
    again = judge(instance, member.complete, PlanSource.PORTFOLIO)
    assert again.objective == pytest.approx(member.objective)
