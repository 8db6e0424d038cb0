"""Nothing that can run waits behind what cannot: models that are nowhere, tools nobody ends, retries that pause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import call, fleet, node

from maestro.fleet import ClusterSpec, Fleet, GpuBudget, NetworkSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.special_tokens import SpecialTokens
from maestro.status import StageState
from maestro.workflow import ChatMessage, ToolStage, WorkflowSpec
from maestro_services.scheduler.core import PromptRules, placement
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.ready import ReadyQueue

LIMIT = 20


def alone(*, weights: tuple[str, ...] = ("writer", "critic"), **changes: object) -> Driver:
    """A fleet of a single accelerator whose node has the weights of these models; snapshots of at most LIMIT."""
    only = Fleet((ClusterSpec("left", (node("left-node"),)),), fleet().models, NetworkSpec(), GpuBudget(1))
    driver = Driver(core_config(fleet=only, max_snapshot_stages=LIMIT, **changes))
    driver.post(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", frozenset(weights)))
    driver.report("left-node")
    return driver


def single(model: str, **changes: object) -> WorkflowSpec:
    """A workflow of one stage."""
    return replace(WorkflowSpec("essays", (call("only", models=(model,)),)), **changes)  # type: ignore[arg-type]


def behind_a_client(expected_s: float | None = None) -> WorkflowSpec:
    """Two calls to the critic behind a tool that a client completes."""
    tool = ToolStage("ask", "human", expected_s=expected_s)
    calls = (call("b", "ask", models=("critic",)), call("c", "b", models=("critic",)))
    return WorkflowSpec("essays", (tool, *calls), deadline_after_s=20.0)


def resident(driver: Driver, model: str) -> None:
    """Brings a model up by running a workflow on it to its end."""
    driver.submit(single(model), f"warm-{model}")
    driver.run_to_the_end()


def go_on(driver: Driver, seconds: int) -> None:
    """Lets time pass, with plans, loads and attempts answered."""
    for _ in range(seconds):
        driver.post(on.NodeSeen("left-node"))
        driver.pass_time(1.0)
        driver.plan()
        driver.finish_loads()
        for attempt in driver.attempts():
            driver.finish(attempt)


def test_a_stage_that_ends_its_workflow_as_it_is_placed_takes_its_siblings_out_of_the_queue() -> None:
    """Tests that two siblings whose counted prompts are too long, unlike the estimates, fail their workflow once."""
    rules = {name: PromptRules(SpecialTokens(), len) for name in fleet().models}
    driver = alone(prompts=rules)
    resident(driver, "writer")
    message = (ChatMessage("user", "a" * 5000),)
    stages = tuple(replace(call(name), messages=message) for name in ("a", "b"))
    driver.submit(WorkflowSpec("essays", stages))
    (ended,) = [t for t in driver.transitions if isinstance(t, do.WorkflowEnded) and t.status.id == "w1"]
    assert ended.status.reason is Reason.CONTEXT_LIMIT
    assert driver.core.active_workflows() == 0


def test_stages_whose_model_is_on_no_usable_node_leave_the_snapshot_to_others() -> None:
    driver = alone(weights=("writer",))
    for number in range(2 * LIMIT):
        driver.submit(single("critic"), f"c{number}")
    driver.now += 5.0
    driver.submit(single("writer"), "mine")
    assert [stage.key.workflow for stage in driver.core.snapshot(driver.now).waiting] == ["mine"]
    go_on(driver, 3)
    assert driver.stage("only", "mine").state is StageState.SUCCEEDED
    assert {driver.stage("only", f"c{n}").reason for n in range(2 * LIMIT)} == {Reason.NO_ACCELERATOR_FITS}


def test_what_comes_after_a_stage_that_fits_nowhere_gets_no_room_either() -> None:
    driver = alone(weights=("writer",))
    driver.submit(WorkflowSpec("essays", (call("a", models=("critic",)), call("b", "a"), call("c"))))
    assert [stage.key.stage for stage in driver.core.snapshot(driver.now).waiting] == ["c"]


def test_a_stage_that_fitted_nowhere_is_planned_once_its_node_is_there() -> None:
    driver = Driver()
    driver.post(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", frozenset({"writer"})))
    driver.report("left-node")
    driver.submit(single("critic"))
    driver.plan()
    assert driver.stage("only").reason is Reason.NO_ACCELERATOR_FITS
    driver.bring_up("right-node")
    assert driver.core.plan_is_due(driver.now + 1.0)
    driver.run_to_the_end()


def test_ready_stages_are_told_that_there_is_no_node_until_there_is_one() -> None:
    driver = Driver()
    driver.submit(single("writer"), "w1")
    driver.submit(single("writer"), "w2")
    assert [driver.stage("only", name).reason for name in ("w1", "w2")] == [Reason.NO_NODE, Reason.NO_NODE]
    driver.bring_up("left-node")
    assert [driver.stage("only", name).reason for name in ("w1", "w2")] == [Reason.WAITING_FOR_PLAN] * 2


def test_stages_behind_clients_tools_get_the_room_that_is_left() -> None:
    driver = alone()
    for number in range(LIMIT):
        driver.submit(behind_a_client(expected_s=600.0), f"h{number}")
    driver.submit(single("writer", deadline_after_s=600.0), "mine")
    waiting = driver.core.snapshot(driver.now).waiting
    assert len(waiting) == LIMIT
    assert "mine" in {stage.key.workflow for stage in waiting}


def test_stages_behind_overdue_tools_hold_no_accelerator_for_themselves() -> None:
    """Tests that an idle replica is evicted for a ready stage, whoever may come back to it one day."""
    driver = alone()
    resident(driver, "critic")
    for number in range(12):
        driver.submit(behind_a_client(), f"h{number}")
    driver.now += 1.0
    driver.submit(single("writer", deadline_after_s=60.0), "mine")
    go_on(driver, 5)
    assert driver.stage("only", "mine").state is StageState.SUCCEEDED


def test_a_tool_that_ends_after_all_has_its_successors_planned() -> None:
    driver = alone()
    driver.submit(behind_a_client())
    go_on(driver, 5)
    assert driver.core.snapshot(driver.now).waiting == ()
    driver.post(on.ToolCompleted(StageKey("w1", "ask"), "yes", ""))
    driver.run_to_the_end()


def test_a_stage_whose_model_is_resident_starts_though_many_before_it_have_none() -> None:
    driver = alone()
    resident(driver, "writer")
    for number in range(2 * placement.STAGES_PER_EVENT):
        driver.submit(replace(single("critic"), priority=30), f"c{number}")
    driver.submit(single("writer"), "mine")
    assert [attempt.key.workflow for attempt in driver.attempts()] == ["mine"]


def test_a_stage_starts_though_many_before_it_wait_to_be_tried_again() -> None:
    driver = alone(retry=replace(core_config().retry, backoff_s=20.0))
    resident(driver, "writer")
    for number in range(2 * placement.STAGES_PER_EVENT):
        driver.submit(replace(single("writer"), priority=30), f"r{number}")
    while attempts := driver.attempts():
        for attempt in attempts:
            driver.fail(attempt)
    driver.submit(single("writer"), "mine")
    assert [attempt.key.workflow for attempt in driver.attempts()] == ["mine"]


def test_a_retry_is_due_when_its_pause_is_over() -> None:
    driver = alone()
    resident(driver, "writer")
    driver.submit(single("writer"))
    (first,) = driver.attempts()
    driver.fail(first)
    assert driver.attempts() == []
    due = driver.core.next_wakeup(driver.now)
    assert due == pytest.approx(driver.now + driver.config.retry.backoff_s)
    driver.pass_time(due - driver.now)
    assert [attempt.key for attempt in driver.attempts()] == [first.key]


def test_a_load_that_failed_is_tried_again_though_nothing_else_happens() -> None:
    driver = alone()
    driver.submit(single("writer"))
    driver.plan()
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    failed = on.ReplicaReport(load.accelerator, load.model, load.generation, ReplicaPhase.FAILED, 0, 0.0, "broke")
    driver.report("left-node", failed)
    driver.plan()
    assert driver.stage("only").reason is Reason.WAITING_FOR_LOAD
    for _ in range(10):
        driver.post(on.NodeSeen("left-node"))
        driver.pass_time(1.0)
        if driver.core.plan_is_due(driver.now):
            driver.plan()
    assert len(driver.take(do.LoadReplica)) == 1


def test_nothing_is_tried_again_until_something_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that an event that changes nothing for stages without a place costs no view of the fleet."""
    driver = alone(horizon_s=0.05)
    resident(driver, "writer")
    for number in range(8):
        driver.submit(single("writer"), f"w{number}")
    views = []
    monkeypatch.setattr(placement, "SnapshotView", lambda *given: views.append(given) or VIEW(*given))
    driver.post(on.NodeSeen("left-node"))
    driver.post(on.NodeSeen("left-node"))
    assert views == []
    driver.submit(single("critic"), "elsewhere")
    assert views == []
    driver.submit(single("writer"), "more")
    assert len(views) == 1
    driver.post(on.NodeSeen("left-node"))
    assert len(views) == 1
    driver.finish(driver.attempts()[0])
    assert len(views) > 1


VIEW = placement.SnapshotView


def key(name: str) -> StageKey:
    return StageKey("w", name)


def test_a_stage_of_several_models_stands_once_wherever_it_is_asked_for() -> None:
    queue = ReadyQueue()
    queue.add(key("both"), (2.0,), ("writer", "critic"))
    queue.add(key("early"), (1.0,), ("critic",))
    queue.add(key("late"), (3.0,), ("writer",))
    assert list(queue.wanting(["writer"])) == [key("both"), key("late")]
    assert list(queue.wanting(["critic", "writer"])) == [key("early"), key("both"), key("late")]
    assert list(queue.wanting(["nowhere"])) == []
    queue.discard(key("both"))
    queue.discard(key("both"))
    assert list(queue.wanting(["critic", "writer"])) == [key("early"), key("late")]
    assert len(queue) == 2


def test_a_stage_that_pauses_stands_only_when_its_last_pause_is_over() -> None:
    queue = ReadyQueue()
    queue.add(key("a"), (1.0,), ("writer",), not_before_s=5.0)
    queue.add(key("a"), (1.0,), ("writer",), not_before_s=7.0)
    queue.add(key("a"), (1.0,), ("writer",), not_before_s=7.0)
    assert queue.next_pause_end() == 7.0
    queue.end_pauses(6.0)
    assert list(queue.wanting(["writer"])) == []
    queue.end_pauses(7.0)
    assert list(queue.wanting(["writer"])) == [key("a")]
    assert queue.next_pause_end() is None
    queue.discard(key("a"))
    assert list(queue.wanting(["writer"])) == []


def test_a_discarded_stage_does_not_come_back_when_its_pause_is_over() -> None:
    queue = ReadyQueue()
    queue.add(key("a"), (1.0,), ("writer",), not_before_s=5.0)
    queue.discard(key("a"))
    assert queue.next_pause_end() is None
    queue.end_pauses(9.0)
    assert list(queue.wanting(["writer"])) == []
