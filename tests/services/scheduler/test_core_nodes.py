"""Nodes and replicas whose answers are lost, late or wrong: the node's own report decides, and nothing hangs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config, ready
from service_world import call, diamond, fleet, model

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro.status import StageState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core import planning
from maestro_services.scheduler.core.records import NodeState

MODELS = frozenset(fleet().models)


def single(model: str = "writer") -> WorkflowSpec:
    """A workflow of one stage."""
    return WorkflowSpec("essays", (call("only", models=(model,)),))


def loaded(model: str = "writer") -> tuple[Driver, on.ReplicaReport]:
    """One node with a replica of the model, idle; and the replica as the node reports it."""
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(single(model), "warm")
    driver.plan()
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    driver.report("left-node", ready(load))
    (attempt,) = driver.attempts()
    driver.finish(attempt)
    return driver, ready(load)


def test_a_replica_that_its_node_shows_no_more_is_gone() -> None:
    driver, _ = loaded()
    driver.report("left-node")
    driver.submit(single(), "w1")
    assert driver.attempts() == []
    driver.plan()
    assert [e.model for e in driver.take(do.LoadReplica) if isinstance(e, do.LoadReplica)] == ["writer"]


def test_a_load_that_its_node_has_not_shown_yet_is_awaited() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(single())
    driver.plan()
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    driver.report("left-node")
    driver.plan()
    assert driver.take(do.LoadReplica) == []
    driver.report("left-node", ready(load))
    assert [a.key.stage for a in driver.attempts()] == ["only"]


def test_an_eviction_that_an_earlier_scheduler_began_does_not_block_the_accelerator() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    draining = on.ReplicaReport("left-node-gpu", "critic", 5, ReplicaPhase.DRAINING, 256 << 20, 1.0, "")
    driver.report("left-node", draining)
    driver.submit(single())
    driver.plan()
    driver.report("left-node")
    driver.plan()
    assert [e.model for e in driver.take(do.LoadReplica) if isinstance(e, do.LoadReplica)] == ["writer"]


def test_a_replica_of_a_model_the_scenario_has_no_more_is_unloaded() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    driver.report("left-node", on.ReplicaReport("left-node-gpu", "poet", 5, ReplicaPhase.READY, 0, 1.0, ""))
    assert do.UnloadReplica("left-node", "left-node-gpu", "poet", 5) in driver.effects


def test_an_unload_that_is_refused_is_not_repeated_at_once() -> None:
    driver, _ = loaded()
    driver.submit(single("critic"), "w1")
    driver.plan()
    (unload,) = driver.take(do.UnloadReplica)
    assert isinstance(unload, do.UnloadReplica)
    driver.post(on.ReplicaCommandRefused(unload.accelerator, unload.model, unload.generation))
    assert driver.take(do.UnloadReplica) == []
    driver.pass_time(1.1)
    driver.plan()
    assert driver.take(do.UnloadReplica) == [unload]


def test_failures_of_a_load_never_overflow_its_pause() -> None:
    driver = Driver()
    driver.bring_up("left-node")
    for generation in range(1, 3000):
        failed = on.ReplicaReport("left-node-gpu", "writer", generation, ReplicaPhase.FAILED, 0, 0.0, "broken")
        driver.report("left-node", failed)
    driver.submit(single())
    driver.now += 130.0
    driver.bring_up("left-node")
    driver.plan()
    assert driver.take(do.LoadReplica)


def test_a_refused_attempt_does_not_count_against_its_stage() -> None:
    driver, _ = loaded()
    driver.submit(single(), "w1")
    for _ in range(10):
        (attempt,) = driver.attempts()
        refused = on.AttemptFailed(
            attempt.key, attempt.attempt_id, Reason.STALE_GENERATION, "stale", retryable=True, refused=True
        )
        driver.post(refused)
        driver.post(on.NodeSeen("left-node"))
        driver.pass_time(1.0)
        driver.plan()
    assert driver.stage("only").state is StageState.RUNNING


def test_a_cancelled_attempt_holds_its_place_until_its_node_has_stopped_it() -> None:
    driver, report = loaded()
    for number in range(4):
        driver.submit(single(), f"w{number}")
    running = driver.attempts()
    assert len(running) == 4
    driver.submit(single(), "next")
    driver.post(on.CancelRequested("w0"))
    assert driver.attempts() == []
    stopped = next(a for a in running if a.key.workflow == "w0")
    driver.post(on.AttemptStopped(stopped.attempt_id, 3))
    assert [a.key.workflow for a in driver.attempts()] == ["next"]
    assert report.phase is ReplicaPhase.READY


def test_a_stop_whose_answer_was_lost_ends_with_the_next_report() -> None:
    driver, report = loaded()
    driver.submit(single(), "w1")
    (attempt,) = driver.attempts()
    driver.post(on.CancelRequested("w1"))
    driver.report("left-node", report, attempts=(on.AttemptReport(attempt.attempt_id, True, 2),))
    accelerator = driver.core._state.accelerators["left-node-gpu"]
    assert [found.id for found in accelerator.occupants()] == [attempt.attempt_id]
    before = driver.core.predictor_state()
    driver.report("left-node", report, attempts=(on.AttemptReport(attempt.attempt_id, False, 5),))
    assert accelerator.occupants() == []
    assert driver.core.predictor_state() != before
    assert do.AcknowledgeAttempts("left-node", (attempt.attempt_id,)) in driver.effects


def test_the_same_instance_that_registers_again_keeps_what_runs_there() -> None:
    driver, report = loaded()
    driver.submit(single(), "w1")
    (attempt,) = driver.attempts()
    driver.post(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", MODELS))
    driver.report("left-node", report, attempts=(on.AttemptReport(attempt.attempt_id, running=True),))
    assert do.FollowAttempt("left-node", attempt.key, attempt.attempt_id) in driver.effects
    driver.finish(attempt)
    assert driver.stage("only").state is StageState.SUCCEEDED
    assert driver.stage("only").attempts == 1


def test_a_node_that_cannot_be_reached_is_lost_and_left() -> None:
    driver, _ = loaded()
    driver.submit(single(), "w1")
    driver.attempts()
    driver.post(on.NodeUnreachable("left-node", "left-node-1"))
    assert driver.stage("only").reason is Reason.NODE_LOST
    assert do.ForgetNode("left-node") in driver.effects
    assert driver.core.nodes["left-node"].state is NodeState.LOST


def test_a_drain_outlives_the_loss_of_the_node_and_the_scheduler() -> None:
    driver = Driver()
    driver.bring_up()
    driver.post(on.NodeDrainRequested("left-node", undrain=False))
    assert do.SaveDrainedNodes(frozenset({"left-node"})) in driver.effects
    driver.pass_time(1.0)
    driver.pass_time(1.0)
    driver.bring_up("left-node")
    assert driver.core.nodes["left-node"].state is NodeState.DRAINING
    following = Driver(epoch=2)
    following.core.drain(frozenset({"left-node"}))
    following.bring_up("left-node")
    assert following.core.nodes["left-node"].state is NodeState.DRAINING


def test_time_in_which_the_scheduler_stood_still_is_not_held_against_the_nodes() -> None:
    driver = Driver()
    driver.bring_up()
    driver.pass_time(0.5)
    driver.pass_time(30.0)
    assert driver.core.nodes["left-node"].state is NodeState.UP


def test_plans_that_cannot_be_used_hand_over_to_the_heuristic(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    driver.bring_up("left-node")
    driver.submit(diamond())
    monkeypatch.setattr(planning, "check", lambda _snapshot, _plan: ("it is overfull",))
    for _ in range(3):
        assert driver.take(do.LoadReplica) == []
        driver.plan()
    assert do.ReportFallback(Reason.PLAN_REJECTED_BY_CHECKER) in driver.effects
    assert driver.take(do.LoadReplica)


def test_a_replica_that_died_is_loaded_where_it_was_rather_than_moving_the_others() -> None:
    slow = {name: model(name, start_s=20.0) for name in ("writer", "critic")}
    driver = Driver(core_config(fleet=replace(fleet(), models=slow), lease_ttl_s=60.0))
    driver.bring_up()
    for name in slow:
        driver.submit(single(name), name)
    driver.plan()
    loads = {load.model: load for load in driver.take(do.LoadReplica) if isinstance(load, do.LoadReplica)}
    for load in loads.values():
        driver.report(load.node, ready(load))
    for attempt in driver.attempts():
        driver.finish(attempt)
    dead = loads["writer"]
    failed = on.ReplicaReport(dead.accelerator, "writer", dead.generation, ReplicaPhase.FAILED, 0, 0.0, "killed")
    driver.report(dead.node, failed)
    driver.submit(WorkflowSpec("essays", (call("draft"), call("review", "draft", models=("critic",)))), "next")
    driver.plan()
    driver.pass_time(4.0)
    assert driver.take(do.UnloadReplica) == []
    assert driver.take(do.LoadReplica) == []  # not before its pause is over
    driver.pass_time(2.0)
    (again,) = driver.take(do.LoadReplica)
    assert isinstance(again, do.LoadReplica)
    assert (again.model, again.accelerator) == ("writer", dead.accelerator)
