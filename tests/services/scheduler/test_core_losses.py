"""Attempts that are lost with their node, or not taken by it, are no failure of the stage, and yet are bounded."""

from __future__ import annotations

from core_driver import Driver, core_config
from service_world import call

from maestro.codec.status import stage_status_from_proto, stage_status_to_proto
from maestro.reasons import Reason
from maestro.status import StageState, WorkflowState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import RetryPolicy
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.restoring import RestoredWorkflow

SINGLE = WorkflowSpec("essays", (call("only"),))


def flapping(**changes: int) -> Driver:
    """A scheduler with one workflow, and a bound of three failed attempts."""
    driver = Driver(core_config(retry=RetryPolicy(3, 0.01, **changes)))
    driver.submit(SINGLE)
    return driver


def start(driver: Driver, life: int) -> do.ExecuteAttempt:
    """Another life of the node begins, and the stage is sent to it."""
    models = frozenset(driver.config.fleet.models)
    driver.post(on.NodeRegistered("left-node", f"left-node-{life}", "127.0.0.1:1", models))
    driver.report("left-node", instance=f"left-node-{life}")
    driver.pass_time(1.0)
    driver.plan()
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    loaded = on.ReplicaReport(load.accelerator, load.model, load.generation, on.ReplicaPhase.READY, 1 << 28, 0.2, "")
    driver.report("left-node", loaded, instance=f"left-node-{life}")
    (attempt,) = driver.attempts()
    return attempt


def test_a_node_that_is_lost_again_and_again_does_not_use_up_the_attempts_of_a_stage() -> None:
    driver = flapping()
    for life in range(1, 6):
        start(driver, life)
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    status = driver.stage("only")
    assert (status.state, status.attempts, status.lost_attempts) == (StageState.WAITING, 5, 5)
    assert "could not be reached" in status.detail
    driver.finish(start(driver, 6))
    assert driver.stage("only").state is StageState.SUCCEEDED


def test_losses_are_bounded_and_the_status_says_so_in_words() -> None:
    driver = flapping(max_losses=4)
    for life in range(1, 5):
        start(driver, life)
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    status = driver.stage("only")
    assert (status.state, status.reason) == (StageState.FAILED, Reason.RETRIES_EXHAUSTED)
    assert "4 attempts were lost with their nodes (scheduler.max_losses)" in status.detail
    (ended,) = [t for t in driver.transitions if isinstance(t, do.WorkflowEnded)]
    assert ended.status.state is WorkflowState.FAILED
    assert "could not be reached" in ended.status.detail


def test_failures_count_as_before_whatever_was_lost_between_them() -> None:
    driver = flapping()
    for life in (1, 2):
        driver.fail(start(driver, life))
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    start(driver, 3)
    driver.post(on.NodeUnreachable("left-node", "left-node-3"))
    driver.fail(start(driver, 4))
    status = driver.stage("only")
    assert (status.state, status.reason) == (StageState.FAILED, Reason.RETRIES_EXHAUSTED)
    assert "3 attempts failed (scheduler.max_attempts), besides 1 lost with their nodes" in status.detail


def test_an_engine_that_dies_counts_since_the_stage_may_have_broken_it() -> None:
    driver = flapping()
    for life in (1, 2, 3):
        driver.fail(start(driver, life), Reason.ENGINE_DIED)
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    assert driver.stage("only").state is StageState.FAILED


def test_an_attempt_that_an_earlier_scheduler_never_sent_is_a_loss_and_counts_survive_restarts() -> None:
    """Tests with more schedulers than attempts may fail, each of which ends before its command is sent."""
    driver = flapping()
    attempt = start(driver, 1)
    for epoch in range(2, 7):
        status = stage_status_from_proto(stage_status_to_proto(driver.stage("only")))
        assert status.attempt_id == attempt.attempt_id
        now = driver.now
        driver = Driver(driver.config, now=now, epoch=epoch)
        driver.core.restore([RestoredWorkflow("w1", SINGLE, "standard", now, now + 100.0, {"only": status})], now)
        attempt = start(driver, epoch)
        assert driver.stage("only").lost_attempts == epoch - 1
    driver.finish(attempt)
    assert driver.stage("only").state is StageState.SUCCEEDED


def test_what_a_node_refused_before_a_restart_does_not_count_after_it() -> None:
    driver = flapping()
    for life in (1, 2):
        attempt = start(driver, life)
        refused = on.AttemptFailed(
            attempt.key, attempt.attempt_id, Reason.NODE_LOST, "gone", retryable=True, refused=True
        )
        driver.post(refused)
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    status = stage_status_from_proto(stage_status_to_proto(driver.stage("only")))
    assert (status.attempts, status.lost_attempts, status.refused_attempts) == (2, 0, 2)
    now = driver.now
    driver = Driver(driver.config, now=now, epoch=2)
    driver.core.restore([RestoredWorkflow("w1", SINGLE, "standard", now, now + 100.0, {"only": status})], now)
    for life in (3, 4):
        driver.fail(start(driver, life))
        driver.post(on.NodeUnreachable("left-node", f"left-node-{life}"))
    assert driver.stage("only").state is StageState.WAITING
