"""Dispatch without plans, the pace of engines under load, and who is seen first when there is too much."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import call

from maestro.snapshot import StageKey
from maestro.status import StageState, TokenUsage
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.pace import Pace
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES


def one(deadline_after_s: float, model: str = "writer", **changes: object) -> WorkflowSpec:
    stages = (call("only", models=(model,)),)
    return replace(WorkflowSpec("essays", stages, deadline_after_s=deadline_after_s), **changes)  # type: ignore[arg-type]


def dispatching(policy: str = "edf") -> Driver:
    driver = Driver(core_config(dispatch=DISPATCH_POLICIES[policy]))
    driver.bring_up()
    return driver


def test_a_policy_loads_what_is_waited_for_and_starts_it_without_any_plan() -> None:
    driver = dispatching()
    driver.submit(one(100.0))
    assert not driver.core.plan_is_due(driver.now)
    driver.finish_loads()
    assert [attempt.key for attempt in driver.attempts()] == [StageKey("w1", "only")]


def test_the_order_is_the_policys_until_the_moment_a_place_is_free() -> None:
    driver = dispatching("edf")
    for index, deadline_s in enumerate((400.0, 300.0, 200.0, 150.0, 100.0, 90.0)):
        driver.submit(one(deadline_s), f"w{index}")
    driver.finish_loads()
    started = [attempt.key.workflow for attempt in driver.attempts()]
    assert started == ["w5", "w4", "w3", "w2"]  # the batch holds four
    driver.submit(one(50.0), "urgent")
    driver.core.handle(
        on.AttemptFinished(StageKey("w5", "only"), "w5/only/1.1", "", "stop", TokenUsage(10, 10), 0.1), driver.now
    )
    assert driver.stage("only", "urgent").state is StageState.RUNNING
    assert driver.stage("only", "w1").state is StageState.WAITING


def test_a_model_nobody_serves_gets_its_turn_from_a_busy_fleet() -> None:
    driver = dispatching()
    for index in range(40):
        driver.submit(one(1000.0), f"w{index}")
    driver.finish_loads()
    driver.submit(one(1000.0, model="critic"), "other")
    for _ in range(60):
        driver.finish_loads()
        for attempt in driver.attempts():
            if attempt.key.workflow == "other":
                return
            driver.finish(attempt)
        driver.pass_time(0.5)
        driver.post(on.NodeSeen("left-node"))
        driver.post(on.NodeSeen("right-node"))
    raise AssertionError("the other model was never loaded")


def test_a_stage_that_has_become_hopeless_while_it_waited_goes_behind_the_others() -> None:
    driver = dispatching("wspt")
    driver.submit(one(0.6), "short-lived")
    driver.submit(one(500.0), "patient")
    driver.now += 5.0
    driver.finish_loads()
    assert [attempt.key.workflow for attempt in driver.attempts()] == ["patient", "short-lived"]


def test_a_full_snapshot_leaves_out_those_that_cannot_make_it() -> None:
    driver = Driver(core_config(max_snapshot_stages=2))
    driver.bring_up()
    for name, deadline_s in (("late-1", 0.01), ("late-2", 0.02), ("on-time-1", 300.0), ("on-time-2", 400.0)):
        driver.submit(one(deadline_s), name)
    driver.now += 1.0
    waiting = driver.core.snapshot(driver.now).waiting
    assert {stage.key.workflow for stage in waiting} == {"on-time-1", "on-time-2"}


def test_predicted_times_follow_what_engines_take_under_load() -> None:
    driver = Driver()
    driver.bring_up()
    driver.submit(one(300.0), "before")
    alone_s = driver.core.snapshot(driver.now).waiting[0].options[0].duration_s
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    took_s = 100 * alone_s
    usage = TokenUsage(20, 10)
    driver.now += took_s
    driver.post(on.AttemptFinished(attempt.key, attempt.attempt_id, "", "stop", usage, took_s))
    driver.take(do.ReportPlan)
    assert driver.core._costing.pace.of(attempt.model, "sim") > 1.0
    assert driver.core._costing.pace.overall > 1.0


def test_pace_is_an_average_that_no_single_result_can_spoil() -> None:
    pace = Pace()
    pace.observe("writer", "sim", 1.0, 1e9)
    assert pace.of("writer", "sim") < 2.0
    for _ in range(300):
        pace.observe("writer", "sim", 1.0, 3.0)
    assert pace.of("writer", "sim") == pytest.approx(3.0, rel=0.01)
    assert pace.of_model("writer") == pytest.approx(3.0, rel=0.01)
    pace.observe("writer", "sim", 0.0, 5.0)
    assert pace.of("writer", "sim") == pytest.approx(3.0, rel=0.01)
    assert pace.of("critic", "sim") == 1.0
