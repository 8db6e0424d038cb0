"""A scheduler that takes over: what ran goes on, and what the scenario no longer has is tried elsewhere or fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from core_driver import Driver, core_config
from service_world import World, call, fleet, settings, world

from maestro.fleet import Fleet
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState
from maestro.workflow import ContextPolicy, ToolStage, WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.records import NodeState
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.serve import Scheduler

NOW = 1_000_000.0


def restored(*stages: StageStatus, spec: WorkflowSpec, slo_class: str = "standard") -> Driver:
    """A core that has taken over one workflow, with the transitions of the restoring kept."""
    found = Driver(core_config())
    statuses = {status.id: status for status in stages}
    workflow = RestoredWorkflow("w1", spec, slo_class, NOW, NOW + 100, statuses)
    outcome = found.core.restore([workflow], found.now)
    found.transitions += outcome.transitions
    found.effects += outcome.effects
    return found


def running(stage_id: str, *, model: str = "writer", accelerator: str = "left-node-gpu") -> StageStatus:
    """A stage with its first attempt under way."""
    return StageStatus(
        id=stage_id,
        state=StageState.RUNNING,
        model=model,
        accelerator=accelerator,
        attempts=1,
        attempt_id=f"w1/{stage_id}/1",
        replica_generation=1,
        kv_reserved_tokens=100,
        started_at_s=NOW,
    )


def one(*models: str) -> WorkflowSpec:
    """A workflow of a single stage."""
    return WorkflowSpec("essays", (call("only", models=models or ("writer",)),))


def test_a_running_stage_keeps_its_attempt_though_its_estimate_exceeds_the_context():
    """Tests that a prompt which was cut to fit does not cost the stage its attempt."""
    last = replace(call("last", "first"), context_policy=ContextPolicy.TRUNCATE_OLDEST)
    first = StageStatus(
        id="first", state=StageState.SUCCEEDED, output="word " * 8000, usage=TokenUsage(1, 8000), attempts=1
    )
    for policy in ContextPolicy:
        spec = WorkflowSpec("essays", (call("first"), replace(last, context_policy=policy)))
        found = restored(first, running("last"), spec=spec)
        status = found.core.stage_status(StageKey("w1", "last"))
        assert (status.state, status.attempt_id) == (StageState.RUNNING, "w1/last/1")
        assert status.kv_reserved_tokens == 100
        found.post(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", frozenset(fleet().models)))
        found.report("left-node", attempts=(on.AttemptReport("w1/last/1", running=True),))
        assert [s.kv_bytes for s in found.core.snapshot(found.now).running] == [100 << 14]


def test_a_stage_whose_accelerator_is_gone_from_the_scenario_is_tried_again():
    found = restored(running("only", accelerator="old-gpu"), spec=one())
    (changed,) = found.transitions
    assert isinstance(changed, do.StageChanged)
    assert (changed.status.state, changed.status.reason) == (StageState.WAITING, Reason.NODE_LOST)
    assert changed.voided_attempt == "w1/only/1"
    assert "old-gpu" in changed.status.detail
    found.bring_up()
    found.run_to_the_end()
    assert found.stage("only").state is StageState.SUCCEEDED
    assert found.stage("only").attempt_id == "w1/only/1.2"


def test_a_stage_whose_attempt_ran_a_model_that_is_gone_goes_on_as_another():
    found = restored(running("only", model="gone"), spec=one("gone", "critic"))
    found.bring_up()
    found.run_to_the_end()
    assert found.stage("only").model == "critic"
    assert found.stage("only").state is StageState.SUCCEEDED


def test_a_workflow_of_a_model_that_is_gone_fails_and_names_it():
    """Tests that a changed scenario neither stops the restart nor lets anybody wait for ever."""
    found = restored(spec=one("gone"))
    found.pass_time(0.0)
    assert found.stage("only").state is StageState.FAILED
    assert found.stage("only").reason is Reason.NO_ACCELERATOR_FITS
    assert '"gone"' in found.stage("only").detail
    (ended,) = (t for t in found.transitions if isinstance(t, do.WorkflowEnded))
    assert ended.status.state is WorkflowState.FAILED
    assert '"gone"' in ended.status.detail


def test_a_later_stage_of_a_model_that_is_gone_fails_when_it_is_ready():
    spec = WorkflowSpec("essays", (call("first"), call("last", "first", models=("gone",))))
    found = restored(spec=spec)
    found.bring_up()
    found.run_to_the_end()
    assert found.stage("first").state is StageState.SUCCEEDED
    assert found.stage("last").reason is Reason.NO_ACCELERATOR_FITS


def test_an_slo_class_that_is_gone_becomes_the_default():
    found = restored(spec=one(), slo_class="gold")
    found.bring_up()
    (workflow,) = found.core.snapshot(found.now).workflows
    assert workflow.slo_class == "standard"


def test_a_stage_that_was_ready_is_ready_again():
    found = restored(spec=one())
    found.bring_up()
    found.run_to_the_end()
    assert found.stage("only").state is StageState.SUCCEEDED


async def restart_with(maestro: World, the_fleet: Fleet) -> None:
    """Starts another scheduler on the same store, with another scenario."""
    changed = settings(maestro.folder, maestro.address)
    prompts = {name: changed.core.prompts[name] for name in the_fleet.models}
    maestro.stop = asyncio.Event()
    core = replace(changed.core, fleet=the_fleet, prompts=prompts)
    maestro.scheduler = Scheduler(replace(changed, core=core), maestro.stop)
    maestro.serving = asyncio.create_task(maestro.scheduler.run())
    await maestro.scheduler.wait_listening()


async def test_what_a_changed_scenario_ends_is_durable_and_told(tmp_path: Path) -> None:
    """Tests that a scheduler restarts though a model and a node are gone, and that clients learn what became of it."""
    async with world(tmp_path, {"left-node": True}) as maestro:
        long = replace(call("long", max_tokens=1200))
        long = replace(long, sampling=replace(long.sampling, min_tokens=1200, ignore_eos=True))
        moved = await maestro.client.submit(WorkflowSpec("essays", (long,)))
        while (await maestro.client.get(moved)).stages[0].state is not StageState.RUNNING:
            await asyncio.sleep(0.05)
        lost = await maestro.client.submit(WorkflowSpec("essays", (call("ask", models=("critic",)),)))
        await maestro.stop_scheduler()
        without = fleet()
        without = replace(without, clusters=without.clusters[1:], models={"writer": without.models["writer"]})
        await restart_with(maestro, without)
        failed = await maestro.client.result(lost, timeout_s=20, check=False)
        assert failed.status.state is WorkflowState.FAILED
        assert '"critic"' in failed.status.detail
        (stage,) = (await maestro.client.get(moved)).stages
        assert (stage.state, stage.attempts) == (StageState.WAITING, 1)
        await maestro.start_node("right-node")
        result = await maestro.client.result(moved, timeout_s=30)
        assert result.status.state is WorkflowState.SUCCEEDED
        assert result.status.stages[0].accelerator == "right-node-gpu"


def test_a_node_that_never_returns_holds_no_place_of_a_cancelled_attempt() -> None:
    driver = restored(running("only"), spec=one())
    driver.post(on.CancelRequested("w1"))
    assert [a.id for a in driver.core._state.accelerators["left-node-gpu"].occupants()] == ["w1/only/1"]
    for _ in range(10 * round(driver.config.lease_ttl_s)):
        driver.pass_time(1.0)
    assert driver.core.nodes["left-node"].state is NodeState.LOST
    assert driver.core._state.accelerators["left-node-gpu"].occupants() == []


def test_a_clients_tool_that_was_begun_before_is_overdue_at_its_time() -> None:
    asking = StageStatus(id="ask", state=StageState.RUNNING, started_at_s=NOW - 1.0)
    tool = ToolStage("ask", "human", expected_s=3.0)
    driver = restored(asking, spec=WorkflowSpec("essays", (tool, call("sum", "ask"))))
    assert driver.core.next_wakeup(NOW + 2.5) == NOW - 1.0 + 3.0 * (1.0 + driver.config.drift)
