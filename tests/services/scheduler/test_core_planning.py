"""When another plan is asked for: the world has moved on since the last one was, or goes on as nobody had predicted."""

from __future__ import annotations

import time

from core_driver import PLANNER, Driver, ready
from service_world import call

from maestro.reasons import Reason
from maestro.workflow import ToolStage, WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_solver.planner import plan

LATER_S = 0.2
"""Longer than the least interval between two plans."""


def single(model: str = "writer") -> WorkflowSpec:
    """A workflow of one stage."""
    return WorkflowSpec("essays", (call("only", models=(model,)),))


def requested(driver: Driver) -> do.RequestPlan:
    """The plan that is asked for now."""
    driver.post(on.PlanDue())
    (request,) = driver.take(do.RequestPlan)
    assert isinstance(request, do.RequestPlan)
    return request


def running_single(driver: Driver, workflow_id: str) -> do.ExecuteAttempt:
    """A workflow of one stage on the left node, the only one, with its attempt sent."""
    driver.bring_up("left-node")
    driver.submit(single(), workflow_id)
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    return attempt


def test_a_stage_whose_planned_place_is_gone_when_the_plan_arrives_gets_another_plan() -> None:
    driver = Driver()
    attempt = running_single(driver, "w0")
    driver.submit(single("critic"), "w1")
    driver.now += LATER_S
    driver.plan()
    driver.post(on.CancelRequested("w0"))
    driver.post(on.CancelRequested("w1"))
    driver.submit(single("writer"), "w2")
    driver.now += LATER_S
    request = requested(driver)
    made = plan(request.snapshot, PLANNER, time.monotonic)
    driver.post(on.AttemptStopped(attempt.attempt_id, 1))
    for unload in driver.take(do.UnloadReplica):
        assert isinstance(unload, do.UnloadReplica)
        driver.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    assert load.model == "critic", "the place that the plan under way counts on is gone"
    driver.post(on.PlanMade(made))
    driver.pass_time(1.0)
    assert driver.attempts() or driver.core.plan_is_due(driver.now)
    driver.report("left-node", ready(load))
    driver.now += LATER_S
    driver.run_to_the_end()


def test_a_plan_that_was_wanted_while_there_was_nothing_to_plan_is_asked_for_afterwards() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(single(), "w1")
    request = requested(driver)
    driver.submit(single("critic"), "w2")
    driver.post(on.PlanningFailed(request.snapshot.version, Reason.NOTHING_TO_PLAN))
    driver.now += LATER_S
    assert driver.core.plan_is_due(driver.now)


def test_nothing_to_plan_alone_asks_for_no_other_plan() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(single(), "w1")
    request = requested(driver)
    driver.post(on.PlanningFailed(request.snapshot.version, Reason.NOTHING_TO_PLAN))
    driver.now += LATER_S
    assert not driver.core.plan_is_due(driver.now)


def go_on_without_plans(driver: Driver, seconds: int) -> None:
    """Lets time pass in which the left node is heard of and nobody asks for a plan."""
    for _ in range(seconds):
        driver.post(on.NodeSeen("left-node"))
        driver.pass_time(1.0)


def settled(driver: Driver) -> None:
    """Lets a plan be made, after which none is wanted."""
    driver.now += LATER_S
    driver.plan()
    driver.finish_loads()
    driver.now += LATER_S
    driver.plan()
    assert not driver.core.plan_is_due(driver.now + LATER_S)


def test_a_stage_that_outlives_its_forecast_makes_another_plan_due() -> None:
    driver = Driver()
    running_single(driver, "w1")
    settled(driver)
    go_on_without_plans(driver, 10)
    assert driver.core.plan_is_due(driver.now)


def test_a_stage_that_ends_before_its_forecast_makes_another_plan_due() -> None:
    driver = Driver()
    attempt = running_single(driver, "w1")
    settled(driver)
    driver.finish(attempt, after_s=0.0)
    assert driver.core.plan_is_due(driver.now + LATER_S)


def behind_a_client(expected_s: float) -> WorkflowSpec:
    """A call behind a tool that a client completes."""
    return WorkflowSpec("essays", (ToolStage("ask", "human", expected_s=expected_s), call("sum", "ask")))


def test_a_clients_tool_makes_another_plan_due_once_when_it_is_overdue() -> None:
    """Tests that what is ordered behind a tool that nobody ends holds no place for ever."""
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(behind_a_client(expected_s=4.0))
    settled(driver)
    go_on_without_plans(driver, 4)
    assert not driver.core.plan_is_due(driver.now)
    go_on_without_plans(driver, 2)
    assert driver.core.plan_is_due(driver.now)
    settled(driver)
    go_on_without_plans(driver, 10)
    assert not driver.core.plan_is_due(driver.now)
