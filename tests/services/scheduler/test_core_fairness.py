"""Bounds on unfairness: nobody waits for ever behind what is more urgent, and a tenant gets its least share."""

from __future__ import annotations

from dataclasses import replace

import core_driver
import pytest
from core_driver import Driver, core_config
from service_world import call, fleet, node

from maestro.fleet import ClusterSpec, Fleet, GpuBudget, NetworkSpec
from maestro.snapshot import StageKey
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, URGENCY

STARVATION_AFTER_S = 30.0
MODES = {"residency": {"starts": URGENCY}, "stages": {}}
MODES |= {name: {"dispatch": policy} for name, policy in DISPATCH_POLICIES.items()}


@pytest.fixture(autouse=True)
def quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of heuristics alone: what they do with whose turn it is, the exact model keeps to."""
    monkeypatch.setattr(core_driver, "PLANNER", replace(core_driver.PLANNER, limit_s=0.1, max_exact_stages=0))


def alone(**changes: object) -> Driver:
    """A single accelerator with four places, on which the writer is resident and all places are taken."""
    only = Fleet((ClusterSpec("left", (node("left-node"),)),), fleet().models, NetworkSpec(), GpuBudget(1))
    driver = Driver(core_config(fleet=only, **changes))
    driver.bring_up("left-node")
    driver.submit(single(), "warm")
    driver.run_to_the_end()
    for index in range(4):
        driver.submit(single(), f"busy{index}")
    return driver


def single(tenant: str = "", deadline_s: float = 3000.0, *, priority: int = 0) -> WorkflowSpec:
    stage = call("only")
    return WorkflowSpec("essays", (stage,), tenant=tenant, deadline_after_s=deadline_s, priority=priority)


def next_start(driver: Driver, running: list[do.ExecuteAttempt]) -> do.ExecuteAttempt:
    """A place becomes free, where plans decide after another one, and somebody gets it."""
    driver.now += 0.2
    if driver.config.dispatch is None:
        driver.plan()
    driver.finish(running.pop(0))
    (attempt,) = driver.attempts()
    running.append(attempt)
    return attempt


def wait(driver: Driver, seconds: float) -> None:
    """Lets time pass in which the node is heard of."""
    until_s = driver.now + seconds
    while driver.now < until_s:
        driver.post(on.NodeSeen("left-node"))
        driver.pass_time(1.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_stage_that_has_waited_too_long_goes_before_all_that_have_not(mode: str) -> None:
    """Tests a late workflow of no weight against a stream of urgent ones, in every way to order stages."""
    driver = alone(starvation_after_s=STARVATION_AFTER_S, **MODES[mode])
    running = driver.attempts()
    driver.submit(single(deadline_s=0.001, priority=-30), "starved")
    for index in range(4):
        driver.submit(single(deadline_s=60.0, priority=30), f"early{index}")
    wait(driver, STARVATION_AFTER_S)
    for index in range(4):
        driver.submit(single(deadline_s=60.0, priority=30), f"urgent{index}")
    wait(driver, 1.0)
    assert {next_start(driver, running).key.workflow for _ in range(5)} == {"starved", *(f"early{i}" for i in range(4))}


def test_without_a_bound_what_is_lost_waits_behind_what_is_not() -> None:
    driver = alone(starts=URGENCY)
    running = driver.attempts()
    driver.submit(single(deadline_s=0.001), "lost")
    wait(driver, 10 * STARVATION_AFTER_S)
    driver.submit(single(deadline_s=60.0), "urgent")
    assert next_start(driver, running).key.workflow == "urgent"


@pytest.mark.parametrize("mode", MODES)
def test_a_tenant_gets_its_least_share_of_what_is_started_while_it_has_work(mode: str) -> None:
    driver = alone(least_shares={"small": 0.25}, **MODES[mode])
    running = driver.attempts()
    for index in range(40):
        driver.submit(single("large", deadline_s=600.0, priority=30), f"large{index}")
    for index in range(20):
        driver.submit(single("small", deadline_s=3000.0, priority=-30), f"small{index}")
    started = []
    for _ in range(24):
        started.append(next_start(driver, running).key.workflow)
        wait(driver, 1.0)
    share = sum(name.startswith("small") for name in started) / len(started)
    assert 0.2 <= share <= 0.5


def test_a_share_that_its_tenant_does_not_use_is_left_to_others() -> None:
    driver = alone(starts=URGENCY, least_shares={"small": 0.9})
    running = driver.attempts()
    for index in range(8):
        driver.submit(single("large"), f"large{index}")
    assert all(next_start(driver, running).key.workflow.startswith("large") for _ in range(8))


def test_the_planner_is_told_whose_turn_it_is() -> None:
    driver = alone(starvation_after_s=STARVATION_AFTER_S)
    driver.submit(single(), "old")
    wait(driver, STARVATION_AFTER_S)
    driver.submit(single(), "new")
    waiting = {stage.key: stage for stage in driver.core.snapshot(driver.now).waiting}
    assert waiting[StageKey("old", "only")].first
    assert not waiting[StageKey("new", "only")].first


def test_a_restart_of_the_clock_of_shares_leaves_them_as_they_are() -> None:
    """Tests that what is far back counts less, and that shares need no work of late to hold."""
    driver = alone(starts=URGENCY, least_shares={"small": 0.25})
    running = driver.attempts()
    driver.submit(single("large"), "large0")
    next_start(driver, running)
    wait(driver, 600.0)
    driver.submit(replace(single("large"), priority=30), "large1")
    driver.submit(single("small"), "small0")
    wait(driver, 1.0)
    assert next_start(driver, running).key.workflow == "small0"
