"""The exact model agrees with exhaustive search on tiny instances, and decides well where heuristics cannot."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product

import pytest
from snapshot_builders import accelerator, model, replica, snapshot, stage, workflow

from maestro.fleet import GpuBudget
from maestro.plan import Plan, PlanSource, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ObjectiveWeights, Snapshot, StageKey, WaitingStage, WorkflowState
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan

TINY = PlannerConfig(limit_s=3.0, horizon_s=14.0, tick_s=1.0, deterministic=True)


def plan_it(given: Snapshot, config: PlannerConfig) -> Plan:
    ticks = count()
    found = plan(given, config, lambda: next(ticks) * 1e-3)
    assert check(given, found) == ()
    return found


def tiny(seed: int) -> Snapshot:
    """Three stages of two models on two accelerators that hold one replica and run one stage at a time."""
    draw = random.Random(seed)
    names = ["alpha", "beta"]
    waiting: list[WaitingStage] = []
    for position in range(3):
        follows = position > 0 and draw.random() < 0.4
        owner = waiting[-1].key.workflow if follows else f"w{position}"
        before = [f"s{position - 1}"] if follows else []
        duration_s = float(draw.randint(1, 3))
        waiting.append(stage(f"s{position}", draw.choice(names), duration_s, after=before, workflow=owner))
    return snapshot(
        [accelerator("gpu0", replica(draw.choice(names)), slots=1), accelerator("gpu1", slots=1)],
        waiting,
        load_s=float(draw.randint(2, 4)),
        workflows=[workflow(f"w{number}", float(draw.randint(2, 9)), draw.choice([1.0, 2.0])) for number in range(3)],
        weights=ObjectiveWeights(late=20.0, tardy=2.0, tardy_cap_s=3.0, latency=1.0, swap=0.5, gpu=1.0),
    )


def cost_of(given: Snapshot, starts: Sequence[int], places: Sequence[int]) -> float | None:
    """What a choice of starts and places costs, worked out without the solver; None where it is impossible."""
    durations = [found.options[0].duration_s for found in given.waiting]
    ends = {found.key: start + length for found, start, length in zip(given.waiting, starts, durations, strict=True)}
    for found, start in zip(given.waiting, starts, strict=True):
        if any(ends[before] > start for before in found.predecessors):
            return None
    load_s = given.load_s["alpha", "gpu0"]
    loads = 0
    for place, state in enumerate(given.accelerators):
        resident = state.replicas[0].model if state.replicas else None
        free_s = 0.0
        for start, position in sorted((starts[at], at) for at in range(len(starts)) if places[at] == place):
            wanted = given.waiting[position].options[0].model
            if wanted != resident:
                free_s += load_s
                loads += 1
                resident = wanted
            if start < free_s:
                return None
            free_s = start + durations[position]
    fixed = given.weights.swap * loads * load_s + given.weights.gpu * len(set(places))
    return fixed + sum(workflow_cost(given, found, ends) for found in given.workflows)


def workflow_cost(given: Snapshot, found: WorkflowState, ends: Mapping[StageKey, float]) -> float:
    """What one workflow costs."""
    weights = given.weights
    completion_s = max((end_s for key, end_s in ends.items() if key.workflow == found.id), default=0.0)
    over_s = max(0.0, completion_s - found.deadline_s)
    late = weights.late * (over_s > 0) + weights.tardy * min(over_s, weights.tardy_cap_s)
    return found.weight * (late + weights.latency * completion_s)


def all_costs(given: Snapshot) -> Iterator[float]:
    for starts in product(range(14), repeat=len(given.waiting)):
        for places in product(range(len(given.accelerators)), repeat=len(given.waiting)):
            cost = cost_of(given, starts, places)
            if cost is not None:
                yield cost


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_is_that_of_exhaustive_search(seed: int) -> None:
    given = tiny(seed)
    found = plan_it(given, TINY)
    assert found.deferred == ()
    assert found.provenance.objective == pytest.approx(min(all_costs(given)))
    assert found.provenance.status is SolveStatus.OPTIMAL
    assert found.provenance.bound == pytest.approx(found.provenance.objective, abs=1e-3)


def alternating(workflows: int) -> list[WaitingStage]:
    """Workflows of an alpha stage and then a beta stage."""
    return [
        made
        for number in range(workflows)
        for made in (
            stage("draft", "alpha", 4.0, workflow=f"w{number}", tail_s=8.0),
            stage("review", "beta", 4.0, after=["draft"], workflow=f"w{number}", tail_s=4.0),
        )
    ]


def test_under_a_budget_that_cannot_hold_two_models_the_plan_swaps_once() -> None:
    waiting = alternating(4)
    given = snapshot(
        [accelerator("gpu0", replica("alpha")), accelerator("gpu1", cluster="west")],
        waiting,
        load_s=20.0,
        workflows=[workflow(f"w{number}", 60.0) for number in range(4)],
        budget=GpuBudget(1),
    )
    found = plan_it(given, PlannerConfig(limit_s=1.0, horizon_s=120.0, deterministic=True))
    assert found.deferred == ()
    assert {used.accelerator for used in found.assignments} == {"gpu0"}
    assert [loaded.model for loaded in found.residencies if not loaded.initial] == ["beta"]
    assert found.provenance.source is PlanSource.CP_SAT


def test_with_room_for_both_models_nothing_is_evicted() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"), memory=200)], alternating(3), load_s=20.0)
    found = plan_it(given, PlannerConfig(limit_s=1.0, horizon_s=120.0, deterministic=True))
    assert all(resident.end_s is None for resident in found.residencies)


def test_elastic_memory_bounds_what_runs_at_once() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha", pool=0), memory=100, elastic=True, slots=8)],
        [stage(f"s{position}", kv=20) for position in range(4)],
        models=[model("alpha", batch=8)],
    )
    found = plan_it(given, PlannerConfig(limit_s=1.0, horizon_s=60.0, deterministic=True))
    assert sorted(each.start_s for each in found.assignments) == [0.0, 0.0, 5.0, 5.0]


def test_what_does_not_start_within_the_horizon_is_deferred_with_its_reason() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"), slots=1)],
        [stage(f"s{position}", duration_s=6.0) for position in range(4)],
    )
    found = plan_it(given, PlannerConfig(limit_s=1.0, horizon_s=10.0, deterministic=True))
    assert len(found.assignments) == 2
    assert {deferral.reason for deferral in found.deferred} == {Reason.DEFERRED_BEYOND_HORIZON}


def test_the_workflow_that_can_be_saved_is_saved() -> None:
    waiting = [stage("s", duration_s=10.0, workflow=f"w{number}", tail_s=10.0) for number in range(3)]
    given = snapshot(
        [accelerator("gpu0", replica("alpha"), slots=1)],
        waiting,
        workflows=[workflow("w0", 9.0), workflow("w1", 10.0), workflow("w2", 20.0)],
    )
    found = plan_it(given, PlannerConfig(limit_s=1.0, horizon_s=60.0, deterministic=True))
    assert [each.stage.workflow for each in found.assignments] == ["w1", "w2", "w0"]
    assert found.provenance.terms["late"] == pytest.approx(100.0)
