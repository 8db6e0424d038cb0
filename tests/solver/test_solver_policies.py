"""Every policy passes the same suite; and each orders by what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snapshot_builders import accelerator, replica, snapshot, stage, workflow

from maestro.snapshot import Snapshot, WaitingStage, WorkflowState
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.heuristics.policies import POLICIES, Policy
from maestro_solver.planner.generate import FAMILIES, generate

every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))


def order_of(policy: Policy, pairs: list[tuple[WorkflowState, WaitingStage]]) -> list[str]:
    """The workflows in the policy's order."""
    return [found.id for found, _ in sorted(pairs, key=lambda pair: policy.order_key(*pair))]


def pair(
    name: str, *, tail_s: float = 10.0, age_s: float = 0.0, **changes: object
) -> tuple[WorkflowState, WaitingStage]:
    made = replace(workflow(name), age_s=age_s, **changes)  # type: ignore[arg-type]
    return made, stage("s", workflow=name, tail_s=tail_s)


class TestConformance:
    """What holds for every policy."""

    @every_policy
    def test_is_found_under_its_own_name(self, policy: Policy) -> None:
        assert POLICIES[policy.name] is policy

    @every_policy
    def test_gives_equal_keys_for_equal_input(self, policy: Policy) -> None:
        assert policy.order_key(*pair("w")) == policy.order_key(*pair("w"))

    @every_policy
    def test_gives_keys_that_can_be_compared(self, policy: Policy) -> None:
        hopeless, late, free = (
            pair("hopeless", deadline_s=5.0),
            pair("late", deadline_s=-3.0, weight=0.0),
            pair("free", deadline_s=float("inf"), slo_class="unheard-of"),
        )
        keys = sorted(policy.order_key(*each) for each in (hopeless, late, free))
        assert len({len(key) for key in keys}) == 1

    @every_policy
    @pytest.mark.parametrize("family", FAMILIES)
    def test_places_every_stage_of_a_contended_snapshot(self, policy: Policy, family: str) -> None:
        given = generate(family, stages=30, accelerators=2, seed=3)
        instance = discretize(given, Grid.suited(given), 60.0)
        schedule = list_schedule(instance, order_keys(instance, policy))
        assert schedule.unplaced == {}
        assert len(schedule.spans) == 30


def test_fcfs_goes_by_time_of_receipt() -> None:
    pairs = [pair("second", age_s=1.0), pair("first", age_s=2.0, deadline_s=900.0)]
    assert order_of(POLICIES["fcfs"], pairs) == ["first", "second"]


def test_edf_goes_by_deadline() -> None:
    pairs = [pair("later", deadline_s=50.0, tail_s=49.0), pair("sooner", deadline_s=40.0)]
    assert order_of(POLICIES["edf"], pairs) == ["sooner", "later"]


def test_llf_goes_by_what_is_left_after_the_remaining_path() -> None:
    pairs = [pair("relaxed", deadline_s=40.0, tail_s=10.0), pair("tight", deadline_s=50.0, tail_s=49.0)]
    assert order_of(POLICIES["llf"], pairs) == ["tight", "relaxed"]


def test_srpt_goes_by_remaining_path_over_weight() -> None:
    pairs = [pair("long", tail_s=30.0), pair("short", tail_s=5.0), pair("heavy", tail_s=30.0, weight=10.0)]
    assert order_of(POLICIES["srpt"], pairs) == ["heavy", "short", "long"]


def test_wspt_goes_by_remaining_work_over_weight() -> None:
    pairs = [pair("much", remaining_work_s=30.0), pair("little", remaining_work_s=3.0)]
    assert order_of(POLICIES["wspt"], pairs) == ["little", "much"]


def test_interactive_first_goes_by_class_then_deadline() -> None:
    pairs = [
        pair("batch", slo_class="batch", deadline_s=1.0),
        pair("late-chat", slo_class="interactive", deadline_s=20.0),
        pair("chat", slo_class="interactive", deadline_s=10.0),
        pair("other", slo_class="unheard-of", deadline_s=5.0),
    ]
    assert order_of(POLICIES["interactive_first"], pairs) == ["chat", "late-chat", "other", "batch"]


def test_hopeless_last_puts_lost_workflows_behind_those_that_can_be_saved() -> None:
    pairs = [pair("lost", deadline_s=9.0, tail_s=10.0), pair("saved", deadline_s=30.0, tail_s=10.0)]
    assert order_of(POLICIES["edf"], pairs) == ["lost", "saved"]
    assert order_of(POLICIES["edf+hopeless_last"], pairs) == ["saved", "lost"]


def test_a_batched_schedule_lets_models_take_turns_in_long_shifts() -> None:
    waiting = [
        made
        for number in range(3)
        for made in (
            stage("draft", "alpha", workflow=f"w{number}"),
            stage("review", "beta", after=["draft"], workflow=f"w{number}"),
        )
    ]
    given = snapshot([accelerator("gpu0", replica("alpha"), slots=1)], waiting)
    instance = discretize(given, Grid.suited(given), 60.0)
    keys = order_keys(instance, POLICIES["edf"])
    loads = {
        batched: sum(found.replica is None for found in list_schedule(instance, keys, batched=batched).residents)
        for batched in (False, True)
    }
    assert loads[True] == 1 < loads[False]


def schedule_starts(given: Snapshot, patience: float) -> list[float]:
    instance = discretize(given, Grid.suited(given), 60.0)
    schedule = list_schedule(instance, order_keys(instance, POLICIES["edf"]), patience)
    return sorted(instance.grid.seconds(span.start) for span in schedule.spans.values())


def test_a_patient_schedule_waits_where_an_eager_one_loads() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"), slots=1), accelerator("gpu1", slots=1)],
        [stage("a", duration_s=12.0), stage("b", duration_s=12.0)],
    )
    assert schedule_starts(given, patience=0.0) == [0.0, 10.0]
    assert schedule_starts(given, patience=1.0) == [0.0, 12.0]
