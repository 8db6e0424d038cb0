"""Plans that decide residency alone, while stages start by a policy as soon as there is room."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import call

from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, GpuBudget, NodeSpec
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import StageState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.demand import WINDOW_S, Demand
from maestro_solver.heuristics.dispatch import URGENCY


def one(deadline_after_s: float = 300.0, model: str = "writer") -> WorkflowSpec:
    return WorkflowSpec("essays", (call("only", models=(model,)),), deadline_after_s=deadline_after_s)


def chain() -> WorkflowSpec:
    stages = (call("draft", models=("writer",)), call("review", "draft", models=("critic",)))
    return WorkflowSpec("essays", stages, deadline_after_s=300.0)


def residency_driver(config: CoreConfig | None = None, *nodes: str) -> Driver:
    driver = Driver(config or core_config(starts=URGENCY))
    driver.bring_up(*nodes)
    return driver


def test_a_plan_loads_a_model_before_any_stage_of_it_is_ready() -> None:
    driver = residency_driver()
    driver.submit(chain())
    driver.plan()
    assert {load.model for load in driver.take(do.LoadReplica) if isinstance(load, do.LoadReplica)} == {
        "writer",
        "critic",
    }


def test_a_ready_stage_starts_in_the_event_that_made_it_ready_if_a_replica_has_room() -> None:
    driver = residency_driver()
    driver.submit(one(), "first")
    driver.plan()
    driver.finish_loads()
    driver.attempts()
    driver.submit(one(), "second")
    assert [attempt.key for attempt in driver.attempts()] == [StageKey("second", "only")]


def test_what_is_urgent_starts_before_what_came_earlier_until_the_moment_a_place_is_free() -> None:
    driver = residency_driver(core_config(starts=URGENCY), "left-node")
    for index in range(5):
        driver.submit(one(2000.0), f"w{index}")
    driver.plan()
    driver.finish_loads()
    running = driver.attempts()
    driver.submit(one(30.0), "urgent")
    driver.finish(running[0])
    assert driver.stage("only", "urgent").state is StageState.RUNNING
    assert driver.stage("only", "w4").state is StageState.WAITING


def test_a_workflow_that_is_lost_starts_behind_one_that_is_not() -> None:
    driver = residency_driver()
    driver.submit(one(0.3), "lost")
    driver.submit(one(500.0), "alive")
    driver.now += 2.0
    driver.plan()
    driver.finish_loads()
    assert [attempt.key.workflow for attempt in driver.attempts()] == ["alive", "lost"]


def test_models_that_do_not_fit_at_once_take_turns_so_that_every_workflow_ends() -> None:
    driver = residency_driver(core_config(starts=URGENCY), "left-node")  # holds one model at a time
    for index in range(4):
        driver.submit(chain(), f"w{index}")
    for _ in range(200):
        driver.plan()
        driver.finish_loads()
        for attempt in driver.attempts():
            driver.finish(attempt)
        if not driver.core.active_workflows():
            return
        driver.pass_time(0.5)
        driver.post(on.NodeSeen("left-node"))
    raise AssertionError("a workflow never ended")


def test_a_turn_once_given_survives_the_plans_that_follow_until_its_replica_is_empty() -> None:
    driver = residency_driver(core_config(starts=URGENCY), "left-node")
    driver.submit(one(), "busy")
    driver.plan()
    driver.finish_loads()
    (busy,) = driver.attempts()
    for index in range(3):
        driver.submit(one(model="critic"), f"other{index}")
    for _ in range(12):
        driver.pass_time(1.0)
        driver.post(on.NodeSeen("left-node"))
        driver.plan()
    driver.submit(one(), "late-comer")
    assert not driver.attempts()  # the replica is to be emptied
    assert not driver.take(do.UnloadReplica)  # but never while it is at work
    driver.finish(busy)
    assert driver.take(do.UnloadReplica)


def test_loads_go_on_by_the_policy_while_the_planner_is_down() -> None:
    driver = residency_driver()
    driver.submit(one())
    driver.post(on.PlanDue())
    driver.post(on.PlanningFailed(1, Reason.SOLVER_RAISED))
    driver.pass_time(1.0)
    assert driver.take(do.LoadReplica)


def test_ready_stages_are_told_where_there_is_no_node() -> None:
    driver = Driver(core_config(starts=URGENCY))
    driver.submit(one())
    assert driver.stage("only").reason is Reason.NO_NODE
    driver.bring_up()
    driver.pass_time(0.1)
    assert driver.stage("only").reason is not Reason.NO_NODE


def test_a_node_reads_the_weights_of_one_load_while_the_engine_of_another_starts() -> None:
    cards = tuple(AcceleratorSpec(f"gpu-{index}", "sim", 4 << 30, slots=4) for index in range(2))
    shared = NodeSpec("left-node", cards, 8 << 30, 1e9, 1e11)
    base = core_config(starts=URGENCY)
    fleet = Fleet((ClusterSpec("left", (shared,)),), base.fleet.models, base.fleet.network, GpuBudget(2))
    driver = residency_driver(replace(base, fleet=fleet), "left-node")
    driver.submit(chain())
    driver.plan()
    assert len(driver.take(do.LoadReplica)) == 1
    driver.pass_time(1.0)  # 2 GiB at 1 GB/s: still being read
    assert not driver.take(do.LoadReplica)
    driver.pass_time(1.3)  # read, and its engine starting
    assert len(driver.take(do.LoadReplica)) == 1


def test_demand_counts_what_arrives_and_what_waits_and_fades_when_nothing_does() -> None:
    driver = residency_driver()
    demand = Demand(driver.core._state)
    assert demand.at(driver.now) == {}
    driver.submit(chain())
    first = demand.at(driver.now)
    assert set(first) == {"writer", "critic"}
    assert all(found.tokens_per_s > 0.0 and found.kv_bytes > 0 for found in first.values())
    driver.run_to_the_end()
    later = demand.at(driver.now + 10 * WINDOW_S)
    assert later["writer"].tokens_per_s == pytest.approx(0.0, abs=0.01)
