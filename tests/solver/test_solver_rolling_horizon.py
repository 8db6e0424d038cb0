"""One plan after another: what is in force is kept unless another plan is better by more than its changes cost."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from snapshot_builders import accelerator, replica, snapshot, stage

from maestro.plan import Plan
from maestro.snapshot import (
    LoadInForce,
    ModelDemand,
    PlanInForce,
    ReplicaPhase,
    ReplicaPlace,
    Snapshot,
    StageKey,
    StartInForce,
)
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.in_force import in_force_of

NOTHING = PlanInForce()
CONFIG = PlannerConfig(limit_s=0.3, horizon_s=60.0, deterministic=True)


def plan_it(given: Snapshot) -> Plan:
    ticks = count()
    found = plan(given, CONFIG, lambda: next(ticks) * 1e-3)
    assert check(given, found) == ()
    return found


def two_alike(*stages: str) -> Snapshot:
    """Two accelerators on which alpha is resident: it is all the same where a stage runs."""
    fleet = [accelerator("a", replica("alpha")), accelerator("b", replica("alpha"))]
    return snapshot(fleet, [stage(name) for name in stages])


def wanting(given: Snapshot, where: dict[str, str], *, committed: bool = False, churn: float = 1.0) -> Snapshot:
    """The snapshot with a plan in force that wants stages on these accelerators."""
    starts = tuple(StartInForce(StageKey("w", s), a, "alpha", 1.0, committed) for s, a in where.items())
    return replace(given, in_force=PlanInForce(starts), weights=replace(given.weights, churn=churn))


def places(found: Plan) -> dict[str, str]:
    return {assignment.stage.stage: assignment.accelerator for assignment in found.assignments}


@pytest.mark.parametrize("where", [{"x": "a", "y": "b"}, {"x": "b", "y": "a"}, {"x": "b", "y": "b"}])
def test_of_plans_that_are_as_good_the_one_in_force_stays(where: dict[str, str]) -> None:
    assert places(plan_it(wanting(two_alike("x", "y"), where))) == where


def busy(churn: float, *, committed: bool = False) -> Snapshot:
    """A stage with a place on an accelerator that has only one slot, behind four others, while another one is idle."""
    fleet = [accelerator("a", replica("alpha"), slots=1), accelerator("b", replica("alpha"), slots=1)]
    given = snapshot(fleet, [stage(name) for name in "vwxyz"])
    return wanting(given, dict.fromkeys("vwxyz", "a"), committed=committed, churn=churn)


def test_a_plan_that_is_better_by_more_than_its_changes_cost_is_taken() -> None:
    assert set(places(plan_it(busy(churn=0.5))).values()) == {"a", "b"}


def test_a_plan_that_is_better_by_less_than_its_changes_cost_is_not() -> None:
    assert set(places(plan_it(busy(churn=1000.0))).values()) == {"a"}


def test_what_is_about_to_start_is_not_moved_however_much_better_that_were() -> None:
    assert set(places(plan_it(busy(churn=0.0, committed=True))).values()) == {"a"}


def test_changes_are_told_as_a_term_of_the_objective() -> None:
    provenance = plan_it(busy(churn=0.5)).provenance
    moved = provenance.terms["churn"] / 0.5
    assert moved == round(moved) > 0
    assert provenance.objective == pytest.approx(sum(provenance.terms.values()))


def test_a_commitment_that_has_become_impossible_binds_nobody() -> None:
    given = two_alike("x")
    start = StartInForce(StageKey("w", "x"), "gone", "alpha", 0.0, committed=True)
    assert "x" in places(plan_it(replace(given, in_force=PlanInForce((start,)))))


def test_a_stage_that_is_owed_its_turn_is_planned_before_what_is_worth_more() -> None:
    fleet = [accelerator("a", replica("alpha"), slots=1)]
    given = snapshot(fleet, [stage("long", duration_s=30.0), stage("short", duration_s=1.0, workflow="v")])
    assert [found.stage.stage for found in plan_it(given).assignments] == ["short", "long"]
    owed = tuple(replace(found, first=found.key.stage == "long") for found in given.waiting)
    assert [found.stage.stage for found in plan_it(replace(given, waiting=owed)).assignments] == ["long", "short"]


def demanding(*fleet: object, alpha: float, beta: float, in_force: PlanInForce = NOTHING) -> Snapshot:
    """A demand for two models of which one fits each accelerator."""
    given = snapshot(list(fleet), [stage("x"), stage("y", "beta")])  # type: ignore[arg-type]
    demand = {"alpha": ModelDemand(alpha, 5), "beta": ModelDemand(beta, 5)}
    return replace(given, waiting=(), workflows=(), demand=demand, in_force=in_force)


def loads(found: Plan) -> set[tuple[str, str]]:
    return {(each.accelerator, each.model) for each in found.residencies if not each.initial}


def test_loads_of_a_plan_of_residency_in_force_go_on_where_another_layout_is_as_good() -> None:
    fleet = (accelerator("a"), accelerator("b"))
    wanted = {("a", "beta"), ("b", "alpha")}, {("a", "alpha"), ("b", "beta")}
    for layout in wanted:
        in_force = PlanInForce(loads=tuple(LoadInForce(a, m, 5.0) for a, m in sorted(layout)))
        assert loads(plan_it(demanding(*fleet, alpha=100.0, beta=100.0, in_force=in_force))) == layout


def test_a_load_that_nothing_wants_any_more_is_dropped_unless_it_is_committed() -> None:
    fleet = (accelerator("a", replica("alpha")),)
    load = LoadInForce("a", "beta", 5.0, frozenset({ReplicaPlace("alpha", "a")}))
    given = demanding(*fleet, alpha=100.0, beta=0.0, in_force=PlanInForce(loads=(load,)))
    assert loads(plan_it(given)) == set()
    committed = PlanInForce(loads=(replace(load, committed=True),))
    assert loads(plan_it(replace(given, in_force=committed))) == {("a", "beta")}


def test_a_commitment_to_what_is_pinned_elsewhere_leaves_a_plan_all_the_same() -> None:
    """Tests that commitments nobody can keep together do not make the model infeasible."""
    fleet = (accelerator("a", replica("alpha", ReplicaPhase.LOADING, 3.0)),)
    load = LoadInForce("a", "beta", 0.0, frozenset({ReplicaPlace("alpha", "a")}), committed=True)
    assert plan_it(demanding(*fleet, alpha=1.0, beta=1.0, in_force=PlanInForce(loads=(load,)))).residencies


def test_the_decisions_of_a_plan_are_those_that_have_not_begun() -> None:
    given = snapshot([accelerator("a", replica("alpha"))], [stage("x"), stage("y", "beta", after=["x"])])
    found = in_force_of(plan_it(given))
    assert [start.stage.stage for start in found.starts] == ["x", "y"]
    assert [(load.model, load.evicts) for load in found.loads] == [("beta", frozenset({ReplicaPlace("alpha", "a")}))]
