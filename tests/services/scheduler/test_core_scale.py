"""Workflows of thousands of stages: the work an event takes, and how much of them a snapshot holds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from core_driver import Driver, core_config
from hypothesis import given, settings
from hypothesis import strategies as st
from service_world import call, fleet, node

from maestro.fleet import ClusterSpec, Fleet, GpuBudget, NetworkSpec
from maestro.plan import Assignment, Plan, PlanSource, Provenance, SolveStatus
from maestro.snapshot import Snapshot, StageKey
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.agenda import Agenda, PlannedStage
from maestro_services.scheduler.views import Views
from maestro_services.scheduler.wire import transition_to_wire

SMALL, LARGE = 200, 1000


def one_node(**changes: object) -> Driver:
    """A fleet of a single accelerator with a ready replica of the writer."""
    only = Fleet((ClusterSpec("left", (node("left-node"),)),), fleet().models, NetworkSpec(), GpuBudget(1))
    driver = Driver(core_config(fleet=only, **changes))
    driver.bring_up("left-node")
    driver.submit(WorkflowSpec("essays", (call("only"),)), "warm")
    driver.run_to_the_end()
    return driver


def fan_out(stages: int) -> WorkflowSpec:
    """A root that everything else waits for."""
    return WorkflowSpec("essays", (call("root"), *(call(f"s{number}", "root") for number in range(stages - 1))))


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of Python an action runs: a measure of work that no other load of the machine disturbs."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def grows_linearly(work: Callable[[int], int]) -> bool:
    """Whether work for so many stages grows no faster than their number, give or take a quarter."""
    return work(LARGE) <= 1.25 * LARGE / SMALL * work(SMALL)


def root_is_running(stages: int) -> tuple[Driver, do.ExecuteAttempt]:
    driver = one_node()
    driver.submit(fan_out(stages))
    (root,) = driver.attempts()
    return driver, root


def test_the_work_when_the_root_of_a_fan_out_ends_is_linear_in_its_stages() -> None:
    def work(stages: int) -> int:
        driver, root = root_is_running(stages)
        return lines_run(lambda: driver.finish(root))

    assert grows_linearly(work)


def test_the_work_of_a_cancel_is_linear_in_the_stages_it_ends() -> None:
    def work(stages: int) -> int:
        driver, root = root_is_running(stages)
        driver.finish(root)
        return lines_run(lambda: driver.post(on.CancelRequested("w1")))

    assert grows_linearly(work)


def test_the_work_of_showing_a_cancel_is_linear_in_the_stages_it_ends() -> None:
    def work(stages: int) -> int:
        driver, _ = root_is_running(stages)
        views = shown(driver)
        ended = driver.post(on.CancelRequested("w1"))
        wire = [transition_to_wire(transition) for transition in ended.transitions]
        return lines_run(lambda: [views.apply(*pair) for pair in zip(ended.transitions, wire, strict=True)])

    assert grows_linearly(work)


def shown(driver: Driver) -> Views:
    """Views of everything the driver's core has done."""
    views = Views(10)
    for transition in driver.transitions:
        views.apply(transition, transition_to_wire(transition))
    return views


def test_a_view_shows_each_stage_in_its_own_place() -> None:
    driver, root = root_is_running(5)
    driver.finish(root)
    status = shown(driver).get("w1")
    assert status is not None
    assert [stage.id for stage in status.stages] == ["root", "s0", "s1", "s2", "s3"]
    assert status.stages[0].output == "text"
    expected = [driver.stage(stage.id).attempts for stage in status.stages]
    assert [stage.attempts for stage in status.stages] == expected
    assert sum(expected) > 1


def test_remaining_work_falls_by_each_stage_that_ends() -> None:
    driver = one_node()
    driver.submit(WorkflowSpec("essays", tuple(call(f"s{number}") for number in range(9))))
    whole = driver.core.snapshot(driver.now).workflows[0].remaining_work_s
    for done, attempt in enumerate(driver.attempts(), start=1):
        driver.finish(attempt)
        left = driver.core.snapshot(driver.now).workflows[0].remaining_work_s
        assert left == pytest.approx(whole * (9 - done) / 9)


def test_a_snapshot_of_one_huge_workflow_stays_within_its_limit() -> None:
    driver = one_node(max_snapshot_stages=50)
    driver.submit(fan_out(500))
    snapshot = driver.core.snapshot(driver.now)
    assert len(snapshot.waiting) == 50
    assert snapshot.omitted_stages == 450


def test_a_huge_workflow_leaves_those_due_later_a_start() -> None:
    driver = one_node(max_snapshot_stages=50)
    driver.submit(replace(fan_out(500), deadline_after_s=1.0), "huge")
    driver.submit(replace(WorkflowSpec("essays", (call("a", models=("critic",)),)), deadline_after_s=99.0), "small")
    waiting = {stage.key.workflow for stage in driver.core.snapshot(driver.now).waiting}
    assert waiting == {"huge", "small"}


def is_closed(snapshot: Snapshot) -> bool:
    """Whether whatever a waiting stage waits for waits or runs in the snapshot as well."""
    known = {stage.key for stage in snapshot.waiting} | {stage.key for stage in snapshot.running}
    return all(before in known for stage in snapshot.waiting for before in stage.predecessors)


@settings(deadline=None)
@given(
    shapes=st.lists(st.lists(st.sets(st.integers(0, 11), max_size=3), min_size=1, max_size=12), min_size=1, max_size=4),
    limit=st.integers(1, 20),
    finished=st.integers(0, 6),
)
def test_a_snapshot_is_full_or_whole_and_lacks_no_predecessor(
    shapes: list[list[set[int]]], limit: int, finished: int
) -> None:
    """Tests that of any workflows, at any time, a snapshot holds ready stages and what comes behind them in order."""
    driver = one_node(max_snapshot_stages=limit)
    for name, shape in enumerate(shapes):
        stages = [
            call(f"s{number}", *sorted(f"s{before}" for before in after if before < number))
            for number, after in enumerate(shape)
        ]
        driver.submit(WorkflowSpec("essays", tuple(stages)), f"w{name}")
    for _ in range(finished):
        for attempt in driver.attempts()[:1]:
            driver.finish(attempt)
    snapshot = driver.core.snapshot(driver.now)
    assert is_closed(snapshot)
    waiting = sum(
        status.state == "waiting" for name in range(len(shapes)) for status in driver.core.waiting(f"w{name}").values()
    )
    assert len(snapshot.waiting) == min(limit, waiting)


def planned(name: str, start_at_s: float) -> PlannedStage:
    return PlannedStage(StageKey("w", name), "gpu", "writer", start_at_s, start_at_s + 1.0, 1)


def test_an_agenda_keeps_stages_by_planned_start_and_drops_just_the_one_named() -> None:
    agenda = Agenda()
    for name, start_at_s in (("c", 2.0), ("a", 1.0), ("d", 2.0), ("b", 1.0)):
        agenda.add(planned(name, start_at_s))
    assert [p.key.stage for p in agenda.pending("gpu")] == ["a", "b", "c", "d"]
    agenda.drop(StageKey("w", "d"))
    agenda.drop(StageKey("w", "a"))
    agenda.drop(StageKey("w", "a"))
    assert [p.key.stage for p in agenda.pending("gpu")] == ["b", "c"]
    assert set(agenda.place) == {StageKey("w", "b"), StageKey("w", "c")}


def test_an_agenda_follows_the_starts_of_its_plan() -> None:
    assignments = tuple(
        Assignment(StageKey("w", name), "gpu", "writer", start_s, start_s + 1.0, 1)
        for name, start_s in (("b", 1.0), ("a", 0.0), ("c", 2.0))
    )
    provenance = Provenance(1, PlanSource.PORTFOLIO, SolveStatus.HEURISTIC, 0.0, {})
    agenda = Agenda.of(Plan(100.0, 30.0, assignments, (), (), provenance))
    assert [(p.key.stage, p.start_at_s) for p in agenda.pending("gpu")] == [("a", 100.0), ("b", 101.0), ("c", 102.0)]
