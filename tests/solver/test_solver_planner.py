"""The planner: its limit, its fallbacks and their reasons, streaming, and snapshots at the edge."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, pairwise

import pytest
from snapshot_builders import accelerator, load, model, replica, running, snapshot, stage, tool, workflow

from maestro.errors import InvalidInputError
from maestro.fleet import GpuBudget
from maestro.plan import Plan, PlanSource, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ObjectiveWeights, ReplicaPhase, Snapshot, StageKey
from maestro_solver.check import check
from maestro_solver.cpsat.model import ExactModel, ModelResult
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import FAMILIES, generate

CONFIG = PlannerConfig(limit_s=0.3, horizon_s=60.0, deterministic=True)


def plan_it(given: Snapshot, config: PlannerConfig = CONFIG, incumbents: list[Plan] | None = None) -> Plan:
    """A plan with a clock that does not depend on the machine; valid, always."""
    ticks = count()
    found = plan(given, config, lambda: next(ticks) * 1e-3, None if incumbents is None else incumbents.append)
    assert check(given, found) == ()
    return found


def reasons(found: Plan) -> dict[str, Reason]:
    return {deferral.stage.stage: deferral.reason for deferral in found.deferred}


@pytest.mark.parametrize("family", FAMILIES)
def test_incumbents_are_streamed_each_valid_and_better_than_the_one_before(family: str) -> None:
    given = generate(family, stages=25, accelerators=2, seed=2)
    incumbents: list[Plan] = []
    found = plan_it(given, incumbents=incumbents)
    assert all(check(given, incumbent) == () for incumbent in incumbents)
    assert all(later.provenance.objective < earlier.provenance.objective for earlier, later in pairwise(incumbents))
    assert found.provenance.objective == pytest.approx(incumbents[-1].provenance.objective)


def test_provenance_says_where_the_plan_comes_from_and_how_good_it_is() -> None:
    found = plan_it(generate("two_models_one_slot", stages=12, accelerators=2, seed=1)).provenance
    assert found.source is PlanSource.CP_SAT
    assert found.status is SolveStatus.OPTIMAL
    assert found.objective == pytest.approx(sum(found.terms.values()))
    assert found.portfolio_objective is not None
    assert found.objective <= found.portfolio_objective
    assert found.gap == pytest.approx(0.0, abs=1e-6)
    assert found.fallback_reason is None


def test_a_snapshot_beyond_the_exact_model_is_searched_and_the_gain_is_told() -> None:
    found = plan_it(generate("contended", 30, 2, seed=1), replace(CONFIG, max_exact_stages=10)).provenance
    assert found.source is PlanSource.IMPROVED
    assert found.status is SolveStatus.HEURISTIC
    assert found.fallback_reason is None
    assert found.portfolio_objective is not None
    assert sum(found.gains.values()) == pytest.approx(found.portfolio_objective - found.objective)


def test_where_the_search_finds_nothing_better_the_portfolios_best_stays_and_it_is_said_why() -> None:
    found = plan_it(generate("small", 1, 1, seed=1), replace(CONFIG, max_exact_stages=0)).provenance
    assert found.source is PlanSource.PORTFOLIO
    assert found.fallback_reason is Reason.MODEL_TOO_LARGE
    assert found.policy


def test_a_limit_that_leaves_the_solver_no_time_gets_the_portfolios_best_and_says_so() -> None:
    given = generate("contended", 60, 3, seed=1)
    late = iter([0.0])
    found = plan(given, PlannerConfig(limit_s=0.01), lambda: next(late, 1.0))
    assert check(given, found) == ()
    assert found.provenance.fallback_reason is Reason.SOLVER_TIMED_OUT
    assert found.provenance.source is PlanSource.PORTFOLIO


def test_a_solver_that_raises_costs_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> ModelResult:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(ExactModel, "solve", fail)
    found = plan_it(generate("small", 10, 2, seed=1)).provenance
    assert found.fallback_reason is Reason.SOLVER_RAISED
    assert found.notes == "RuntimeError: out of memory"


def test_a_model_solution_that_the_checker_rejects_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    solve = ExactModel.solve

    def overlap(*arguments: object) -> ModelResult:
        result = solve(*arguments)  # type: ignore[arg-type]
        assert result.schedule is not None
        spans = {
            position: span._replace(start=0, end=span.end - span.start)
            for position, span in result.schedule.spans.items()
        }
        return replace(result, schedule=replace(result.schedule, spans=spans))

    monkeypatch.setattr(ExactModel, "solve", lambda self, limits, on_solution=None: overlap(self, limits))
    found = plan_it(generate("small", 12, 2, seed=1)).provenance
    assert found.fallback_reason is Reason.PLAN_REJECTED_BY_CHECKER
    assert found.source is PlanSource.PORTFOLIO


def test_an_empty_snapshot_gets_an_empty_plan() -> None:
    found = plan_it(snapshot([accelerator("gpu0", replica("alpha"))], []))
    assert (found.assignments, found.deferred) == ((), ())
    assert found.provenance.fallback_reason is Reason.NOTHING_TO_PLAN


def test_without_accelerators_every_stage_is_deferred() -> None:
    found = plan_it(snapshot([], [stage("a"), stage("b", after=["a"])]))
    assert reasons(found) == {"a": Reason.NO_NODE, "b": Reason.WAITING_FOR_PREDECESSORS}


def test_a_stage_that_fits_nowhere_is_reported_and_the_rest_is_planned() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"))], [stage("huge", kv=21), stage("next", after=["huge"]), stage("ok")]
    )
    found = plan_it(given)
    assert reasons(found) == {"huge": Reason.NO_ACCELERATOR_FITS, "next": Reason.WAITING_FOR_PREDECESSORS}
    assert [each.stage.stage for each in found.assignments] == ["ok"]


def test_a_stage_behind_an_omitted_one_waits() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [stage("a", after=["omitted"])])
    assert reasons(plan_it(given)) == {"a": Reason.WAITING_FOR_PREDECESSORS}


def test_without_a_budget_nothing_starts() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [stage("a")], budget=GpuBudget(0))
    assert plan_it(given).assignments == ()


def test_a_replica_that_loads_is_used_from_when_it_is_ready() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 4.0))], [stage("a")])
    found = plan_it(given)
    assert [each.start_s for each in found.assignments] == [4.0]
    assert [resident.initial for resident in found.residencies] == [True]


def test_a_draining_replica_makes_way() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha", ReplicaPhase.DRAINING))],
        [stage("a", "beta")],
        [running("now", "gpu0", "alpha", 6.0)],
    )
    found = plan_it(given)
    assert load("gpu0", "beta", 6.0, 16.0) in found.residencies
    assert [each.start_s for each in found.assignments] == [16.0]


def test_a_pinned_model_is_not_evicted() -> None:
    models = [model("alpha", pinned_on=["gpu0"]), model("beta")]
    found = plan_it(snapshot([accelerator("gpu0", replica("alpha"))], [stage("b", "beta")], models=models))
    assert reasons(found) == {"b": Reason.NO_ACCELERATOR_FITS}
    assert [resident.end_s for resident in found.residencies] == [None]


def test_tool_stages_take_their_time_and_are_not_listed() -> None:
    waiting = [stage("a"), tool("search", 3.0, ["a"]), stage("b", after=["search"])]
    found = plan_it(snapshot([accelerator("gpu0", replica("alpha"))], waiting))
    assert [(each.stage.stage, each.start_s) for each in found.assignments] == [("a", 0.0), ("b", 8.0)]
    assert found.deferred == ()


def test_a_tool_stage_behind_a_deferred_stage_is_deferred() -> None:
    waiting = [stage("a", not_before_s=200.0), tool("search", 3.0, ["a"])]
    found = plan_it(snapshot([accelerator("gpu0", replica("alpha"))], waiting))
    assert set(reasons(found)) == {"a", "search"}


@pytest.mark.parametrize(
    "weights",
    [ObjectiveWeights(0, 0, 0, 0, 0, 0, 0), ObjectiveWeights(late=0, latency=0), ObjectiveWeights(network=5, gpu=5)],
)
def test_any_weights_give_a_plan(weights: ObjectiveWeights) -> None:
    plan_it(replace(generate("contended", 15, 3, seed=4), weights=weights))


def test_deadlines_that_have_passed_and_none_at_all_give_a_plan() -> None:
    given = generate("small", 12, 2, seed=4)
    for deadline_s in (-1e9, float("inf")):
        late = tuple(replace(found, deadline_s=deadline_s) for found in given.workflows)
        plan_it(replace(given, workflows=late))


@pytest.mark.parametrize("horizon_s", [0.01, 1.0, 1e4])
def test_any_horizon_gives_a_plan(horizon_s: float) -> None:
    plan_it(generate("pools", 15, 2, seed=4), replace(CONFIG, horizon_s=horizon_s))


@pytest.mark.parametrize("field", ["limit_s", "horizon_s", "tick_s", "workers", "max_candidates"])
def test_a_setting_that_cannot_work_is_refused(field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"planner.{field}: must be above 0"):
        replace(CONFIG, **{field: 0})


def test_a_circle_of_stages_is_refused_and_printed() -> None:
    given = snapshot([accelerator("gpu0")], [stage("a", after=["b"]), stage("b", after=["a"])])
    with pytest.raises(InvalidInputError, match=r"form a circle: w/(a -> w/b|b -> w/a)"):
        plan_it(given)


def test_a_stage_of_an_unknown_workflow_is_refused() -> None:
    given = snapshot([accelerator("gpu0")], [stage("a")], workflows=[workflow("other")])
    with pytest.raises(InvalidInputError, match=r"waiting\[0\].key"):
        plan_it(given)


def test_a_stage_listed_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="a name stands twice"):
        plan_it(snapshot([accelerator("gpu0")], [stage("a"), stage("a")]))


@pytest.mark.parametrize(("family", "stages", "accelerators"), [("nope", 1, 1), ("small", 0, 1), ("small", 1, 0)])
def test_generate_refuses_what_it_cannot_make(family: str, stages: int, accelerators: int) -> None:
    with pytest.raises(InvalidInputError):
        generate(family, stages, accelerators, seed=0)


def test_generate_is_a_function_of_its_arguments() -> None:
    assert generate("large", 50, 4, seed=9) == generate("large", 50, 4, seed=9)
    assert generate("large", 50, 4, seed=9) != generate("large", 50, 4, seed=8)
    assert StageKey("w0", "s0") in {found.key for found in generate("large", 50, 4, seed=9).waiting}


def test_an_accelerator_that_the_snapshot_overfills_leaves_the_others_to_the_solver() -> None:
    models = [model("alpha", pinned_on=["gpu0"]), model("beta")]
    full = accelerator("gpu0", replica("alpha"), memory=60)
    given = snapshot([full, accelerator("gpu1", replica("beta"))], [stage("b", "beta")], models=models)
    assert plan_it(given).provenance.source is PlanSource.CP_SAT


def test_a_load_that_takes_no_time_still_waits_for_the_link() -> None:
    loading = accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 4.0), node="n")
    given = snapshot([loading, accelerator("gpu1", node="n")], [stage("b", "beta")], load_s=0.0)
    (begun,) = [resident for resident in plan_it(given).residencies if not resident.initial]
    assert begun.load_start_s == 3.0  # the engine that starts for a second more needs no link
