"""The scheduler's service with nodes beside it: real gRPC, real store, real planner process, simulated engines."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from service_world import (
    PATIENCE_S,
    PLANS_IN_ANY_CASE_S,
    call,
    diamond,
    producing,
    sleeping_fleet,
    until,
    world,
)

from maestro.errors import ConflictError, InvalidInputError, NotFoundError
from maestro.events import StageChanged, StageTokens, WorkflowChanged
from maestro.plan import PlanSource
from maestro.reasons import Reason
from maestro.status import WorkflowState
from maestro.v1 import fleet_pb2, fleet_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc
from maestro.workflow import LlmStage, ToolStage, WorkflowSpec

NO_NODES = {"left-node": False, "right-node": False}


def long_stage(stage_id: str = "long") -> LlmStage:
    """A stage that takes a few seconds."""
    stage = call(stage_id, max_tokens=1200)
    return replace(stage, sampling=replace(stage.sampling, min_tokens=1200, ignore_eos=True))


async def test_workflows_run_to_their_end_under_plans_of_the_solver(tmp_path: Path) -> None:
    async with world(tmp_path, limit_s=PLANS_IN_ANY_CASE_S) as maestro:
        await maestro.scheduler.planner.wait_ready()
        ids = [await maestro.client.submit(diamond()) for _ in range(4)]
        results = [await maestro.client.result(workflow_id, timeout_s=PATIENCE_S) for workflow_id in ids]
        assert all(result.status.state is WorkflowState.SUCCEEDED for result in results)
        report = await maestro.client.plan()
        assert report.plans_by_source.get(PlanSource.CP_SAT, 0) >= 1


async def test_a_watcher_sees_every_transition_once_and_the_tokens_between(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        workflow_id = await maestro.client.submit(diamond())
        watching = maestro.client.watch(workflow_id, tokens=True)
        events = [await anext(watching)]
        for node in NO_NODES:
            await maestro.start_node(node)
        events += [event async for event in watching]
        sequences = [event.sequence for event in events if isinstance(event, StageChanged | WorkflowChanged)]
        assert sequences == sorted(set(sequences))
        text = "".join(e.text for e in events if isinstance(e, StageTokens) and e.stage_id == "first")
        outputs = [e.status.output for e in events if isinstance(e, StageChanged) and e.status.id == "first"]
        assert outputs[-1] == text != ""
        assert isinstance(events[-1], WorkflowChanged)


async def test_a_watcher_resumes_after_the_sequence_it_saw(tmp_path: Path) -> None:
    async with world(tmp_path) as maestro:
        workflow_id = await maestro.client.submit(diamond())
        await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        everything = [event async for event in maestro.client.watch(workflow_id)]
        rest = [e async for e in maestro.client.watch(workflow_id, after_sequence=everything[3].sequence)]  # type: ignore[union-attr]
        assert rest == everything[4:]


async def test_what_was_accepted_is_finished_by_the_next_scheduler(tmp_path: Path) -> None:
    """Tests invariant: every accepted workflow ends, whoever has to end it."""
    async with world(tmp_path) as maestro:
        workflow_id = await maestro.client.submit(WorkflowSpec("essays", (long_stage(), call("b", "long"))))
        await producing(maestro.client, workflow_id, "long")
        await maestro.stop_scheduler()
        await maestro.restart_scheduler()
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        (long,) = (stage for stage in result.status.stages if stage.id == "long")
        assert long.attempts == 1
        assert maestro.scheduler.loop.core.epoch == 2


async def test_a_node_that_goes_away_loses_its_stages_to_another(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        await maestro.start_node("left-node", dawdling=True)
        workflow_id = await maestro.client.submit(WorkflowSpec("essays", (long_stage(),)))
        await producing(maestro.client, workflow_id, "long")
        await maestro.start_node("right-node")
        await maestro.stop_node("left-node")
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        assert result.status.stages[0].attempts == 2


async def test_the_same_key_and_payload_give_the_first_id(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        spec = diamond(idempotency_key="once")
        ids = await asyncio.gather(*(maestro.client.submit(spec) for _ in range(8)))
        assert len(set(ids)) == 1
        assert await maestro.client.submit(spec) == ids[0]
        assert await maestro.client.submit(replace(spec, tenant="another")) != ids[0]


async def test_the_same_key_with_another_payload_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        await maestro.client.submit(diamond(idempotency_key="once"))
        with pytest.raises(ConflictError, match="once"):
            await maestro.client.submit(diamond(idempotency_key="once", priority=1))


async def test_a_running_workflow_can_be_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        await maestro.start_node("left-node", dawdling=True)
        workflow_id = await maestro.client.submit(WorkflowSpec("essays", (long_stage(),)))
        await producing(maestro.client, workflow_id, "long")
        assert await maestro.client.cancel(workflow_id) is WorkflowState.CANCELLED
        assert await maestro.client.cancel(workflow_id) is WorkflowState.CANCELLED
        status = await maestro.client.get(workflow_id)
        assert status.stages[0].reason is Reason.CANCELLED_BY_CLIENT


async def test_a_tool_stage_takes_one_result_and_the_same_one_again(tmp_path: Path) -> None:
    async with world(tmp_path) as maestro:
        spec = WorkflowSpec("essays", (ToolStage("search", "web"), call("sum", "search")))
        workflow_id = await maestro.client.submit(spec)
        await maestro.client.complete_stage(workflow_id, "search", output="found")
        await maestro.client.complete_stage(workflow_id, "search", output="found")
        with pytest.raises(ConflictError, match="search"):
            await maestro.client.complete_stage(workflow_id, "search", output="something else")
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED


async def test_bad_workflows_are_refused_with_field_and_remedy(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        cycle = WorkflowSpec("essays", (call("a", "b"), call("b", "a")))
        with pytest.raises(InvalidInputError, match=r"a -> b -> a|b -> a -> b"):
            await maestro.client.submit(cycle)
        with pytest.raises(InvalidInputError, match="writer"):
            await maestro.client.submit(WorkflowSpec("essays", (call("a", models=("writter",)),)))
        with pytest.raises(NotFoundError, match="wf-none"):
            await maestro.client.get("wf-none")


async def test_a_large_dag_and_a_large_prompt_get_an_answer_of_ours(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        chain = tuple(call(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(10_000))
        workflow_id = await maestro.client.submit(WorkflowSpec("essays", chain))
        assert len((await maestro.client.get(workflow_id)).stages) == 10_000
        with pytest.raises(InvalidInputError, match="stages"):
            await maestro.client.submit(WorkflowSpec("essays", (*chain, call("more"))))
        stage = call("big")
        big = replace(stage, messages=(replace(stage.messages[0], content="x" * 5_000_000),))
        with pytest.raises(InvalidInputError, match=r"4194304|4 MiB"):
            await maestro.client.submit(WorkflowSpec("essays", (big,)))


async def test_lists_come_in_pages(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        ids = [await maestro.client.submit(diamond()) for _ in range(5)]
        assert [status.id async for status in maestro.client.list()] == ids[::-1]
        async with grpc.aio.insecure_channel(maestro.address) as channel:
            stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
            page = await stub.ListWorkflows(scheduler_pb2.ListWorkflowsRequest(page_size=2))
            following = scheduler_pb2.ListWorkflowsRequest(page_size=2, page_token=page.next_page_token)
            found = [*page.workflows, *(await stub.ListWorkflows(following)).workflows]
            assert [status.id for status in found] == ids[:0:-1]
            with pytest.raises(grpc.aio.AioRpcError, match="next_page_token"):
                await stub.ListWorkflows(scheduler_pb2.ListWorkflowsRequest(page_token="made up"))


async def test_health_and_reflection_answer(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro:
        async with grpc.aio.insecure_channel(maestro.address) as channel:
            for service in ("", "maestro.v1.SchedulerService", "maestro.v1.FleetService"):
                answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
        services = await asyncio.to_thread(_reflected_services, maestro.address)
        assert {"maestro.v1.SchedulerService", "maestro.v1.FleetService"} <= services


async def test_who_watches_the_health_of_a_service_learns_that_it_stops(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro, grpc.aio.insecure_channel(maestro.address) as channel:
        request = health_pb2.HealthCheckRequest(service="maestro.v1.SchedulerService")
        told = health_pb2_grpc.HealthStub(channel).Watch(request)
        assert (await told.read()).status == health_pb2.HealthCheckResponse.SERVING
        maestro.stop.set()
        assert (await told.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


def _reflected_services(address: str) -> set[str]:
    with grpc.insecure_channel(address) as channel:
        return set(ProtoReflectionDescriptorDatabase(channel).get_services())


async def test_a_node_of_another_scenario_is_not_registered(tmp_path: Path) -> None:
    async with world(tmp_path, NO_NODES) as maestro, grpc.aio.insecure_channel(maestro.address) as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="left-node, right-node"):
            await stub.RegisterNode(fleet_pb2.RegisterNodeRequest(node="middle", instance_id="i", address="a:1"))
        with pytest.raises(grpc.aio.AioRpcError, match="same scenario file"):
            await stub.RegisterNode(fleet_pb2.RegisterNodeRequest(node="left-node", instance_id="i", address="a:1"))
        with pytest.raises(grpc.aio.AioRpcError, match="register again"):
            await stub.Heartbeat(fleet_pb2.HeartbeatRequest(node="left-node", instance_id="i"))


async def test_a_solver_that_is_killed_is_replaced_and_the_loop_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as maestro:
        await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=PATIENCE_S)
        await maestro.scheduler.planner.wait_ready()
        process = maestro.scheduler.planner.pid
        assert process is not None
        os.kill(process, signal.SIGKILL)
        result = await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        await until(lambda: maestro.scheduler.planner.pid != process)
        await maestro.scheduler.planner.wait_ready()


async def test_a_model_that_was_evicted_wakes_up_from_host_memory(tmp_path: Path) -> None:
    """Tests that writer, critic, writer, critic take turns on one accelerator with one engine start each."""
    stages = (
        call("draft"),
        call("review", "draft", models=("critic",)),
        call("final", "review"),
        call("check", "final", models=("critic",)),
    )
    async with world(tmp_path, of=sleeping_fleet()) as maestro:
        workflow_id = await maestro.client.submit(WorkflowSpec("essays", stages))
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        async with grpc.aio.insecure_channel(maestro.address) as channel:
            listed = await fleet_pb2_grpc.FleetServiceStub(channel).ListNodes(fleet_pb2.ListNodesRequest())
        (accelerator,) = listed.nodes[0].status.accelerators
        starts = {item.replica.model: item.replica.generation % (1 << 32) for item in accelerator.replicas}
        assert starts == {"writer": 1, "critic": 2}
