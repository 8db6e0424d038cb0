"""What clients are answered at the edges: results delivered twice, watches beyond the end, and what cannot be asked."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import grpc
import pytest
from gated_service import GatedService, gated_service
from service_world import PATIENCE_S, call, diamond, until, world

from maestro.errors import ConflictError, InvalidInputError, MaestroError, NotFoundError, OverloadedError
from maestro.events import StageChanged, WorkflowChanged
from maestro.reasons import Reason
from maestro.status import StageState, WorkflowState
from maestro.v1 import scheduler_pb2 as pb
from maestro.wire_errors import from_rpc_error
from maestro.workflow import ToolStage, WorkflowSpec

TOOL_THEN_MORE = WorkflowSpec("essays", (ToolStage("search", "web"), ToolStage("rank", "web"), call("sum", "search")))


async def refusal(answer: object) -> MaestroError:
    """The typed error with which a raw call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer  # type: ignore[misc]
    return from_rpc_error(caught.value, "the service")


async def result_of(service: GatedService, **result: str) -> pb.CompleteStageResponse:
    """Delivers a result for the only tool of a new workflow, as a raw request can."""
    workflow_id = await service.client.submit(TOOL_THEN_MORE)
    request = pb.CompleteStageRequest(workflow_id=workflow_id, stage_id="search", **result)
    return await service.stub.CompleteStage(request)


async def test_a_tools_error_may_be_delivered_again(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        workflow_id = await service.client.submit(TOOL_THEN_MORE)
        for _ in range(2):
            await service.client.complete_stage(workflow_id, "search", error="no such page")
        for contradiction in ({"error": "another"}, {"output": ""}, {"output": "no such page"}):
            with pytest.raises(ConflictError, match=r'"search" has failed'):
                await service.client.complete_stage(workflow_id, "search", **contradiction)
        assert (await service.client.get(workflow_id)).stages[0].reason is Reason.TOOL_FAILED


async def test_an_error_for_a_stage_that_succeeded_without_output_is_refused(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        workflow_id = await service.client.submit(TOOL_THEN_MORE)
        for _ in range(2):
            await service.client.complete_stage(workflow_id, "search", output="")
        with pytest.raises(ConflictError, match=r'"search" has succeeded'):
            await service.client.complete_stage(workflow_id, "search", error="too late")


async def test_an_empty_error_is_refused_instead_of_taken_for_success(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        error = await refusal(result_of(service, error=""))
        assert isinstance(error, InvalidInputError)
        assert error.field == "error"
        assert "why" in error.remedy
        missing = await refusal(result_of(service))
        assert isinstance(missing, InvalidInputError)
        assert missing.field == "result"


@pytest.mark.parametrize("second", [{"output": "other"}, {"error": "it broke"}])
async def test_of_two_results_within_one_commit_the_second_is_refused(tmp_path: Path, second: dict[str, str]) -> None:
    async with gated_service(tmp_path) as service:
        workflow_id = await service.client.submit(TOOL_THEN_MORE)
        service.store.is_shut = True
        calls = []
        for result in ({"output": "found"}, second, {"output": "found"}):
            calls.append(asyncio.create_task(service.client.complete_stage(workflow_id, "search", **result)))
            await service.store.holds(len(calls))
        service.store.open_gate()
        answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_S)
        assert [type(answer) for answer in answers] == [type(None), ConflictError, type(None)]
        assert (await service.client.get(workflow_id)).stages[0].output == "found"


async def test_a_result_that_a_cancellation_overtook_is_refused(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        workflow_id = await service.client.submit(TOOL_THEN_MORE)
        service.store.is_shut = True
        cancelling = asyncio.create_task(service.client.cancel(workflow_id))
        await service.store.holds(1)
        completing = asyncio.create_task(service.client.complete_stage(workflow_id, "search", output="found"))
        await service.store.holds(2)
        service.store.open_gate()
        with pytest.raises(ConflictError, match=r'"search" is cancelled'):
            await asyncio.wait_for(completing, PATIENCE_S)
        assert await cancelling is WorkflowState.CANCELLED


async def test_only_tools_that_run_take_results(tmp_path: Path) -> None:
    async with world(tmp_path) as maestro:
        spec = WorkflowSpec("essays", (call("write"), ToolStage("check", "lint", ("write",))))
        workflow_id = await maestro.client.submit(spec)
        with pytest.raises(ConflictError, match="check"):
            await maestro.client.complete_stage(workflow_id, "check", output="fine")
        async for event in maestro.client.watch(workflow_id):
            if isinstance(event, StageChanged) and event.status.state is StageState.SUCCEEDED:
                written = event.status.output
                break
        with pytest.raises(ConflictError, match=r'"write" is an LLM stage'):
            await maestro.client.complete_stage(workflow_id, "write", output=written)
        with pytest.raises(NotFoundError, match="wrote"):
            await maestro.client.complete_stage(workflow_id, "wrote", output="x")


@pytest.mark.parametrize("beyond", [1_000_000, 2**64 - 1])
async def test_a_watch_from_beyond_the_end_ends_with_the_workflow(tmp_path: Path, beyond: int) -> None:
    async with gated_service(tmp_path) as service:
        workflow_id = await service.client.submit(diamond())
        request = pb.WatchWorkflowRequest(workflow_id=workflow_id, after_sequence=beyond)

        async def everything() -> list[pb.WatchWorkflowResponse]:
            return [event async for event in service.stub.WatchWorkflow(request)]

        watching = asyncio.create_task(everything())
        await asyncio.sleep(0.2)
        assert not watching.done()
        await service.client.cancel(workflow_id)
        assert await asyncio.wait_for(watching, PATIENCE_S) == []
        assert await asyncio.wait_for(everything(), PATIENCE_S) == []


async def test_a_watch_of_a_workflow_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        watching = service.client.watch("wf-none", after_sequence=7)
        with pytest.raises(NotFoundError, match="wf-none"):
            await asyncio.wait_for(anext(watching), PATIENCE_S)


async def test_a_watcher_that_is_too_slow_is_told_so(tmp_path: Path) -> None:
    async with gated_service(tmp_path, watcher_buffer=1) as service:
        workflow_id = await service.client.submit(diamond())
        stream = service.stub.WatchWorkflow(pb.WatchWorkflowRequest(workflow_id=workflow_id))
        accepted = await stream.read()
        await service.client.cancel(workflow_id)  # five transitions at once for a buffer of one
        error = await refusal(stream.read())
        assert isinstance(error, OverloadedError)
        assert f"after_sequence {accepted.sequence}" in str(error)


async def test_the_client_resumes_where_it_was_too_slow(tmp_path: Path) -> None:
    async with gated_service(tmp_path, watcher_buffer=1) as service:
        workflow_id = await service.client.submit(diamond())
        seen = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in service.client.watch(workflow_id):
                if not seen:
                    await service.client.cancel(workflow_id)
                seen.append(event)
        assert seen == [event async for event in service.client.watch(workflow_id)]
        assert len(seen) == 6
        assert isinstance(seen[-1], WorkflowChanged)


async def test_a_missing_workflow_id_is_named(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        for answer in (
            service.stub.GetWorkflow(pb.GetWorkflowRequest()),
            service.stub.CancelWorkflow(pb.CancelWorkflowRequest()),
            service.stub.CompleteStage(pb.CompleteStageRequest(stage_id="a", output="x")),
            service.stub.WatchWorkflow(pb.WatchWorkflowRequest()).read(),
        ):
            error = await refusal(answer)
            assert isinstance(error, InvalidInputError)
            assert error.field == "workflow_id"
        assert isinstance(
            await refusal(service.stub.GetWorkflow(pb.GetWorkflowRequest(workflow_id="?"))), NotFoundError
        )


@pytest.mark.parametrize("token", ["made up", "-1", "²", "9" * 30, " 1"])
async def test_a_page_token_that_is_not_ours_is_refused(tmp_path: Path, token: str) -> None:
    async with gated_service(tmp_path) as service:
        error = await refusal(service.stub.ListWorkflows(pb.ListWorkflowsRequest(page_token=token)))
        assert isinstance(error, InvalidInputError)
        assert error.field == "page_token"
        assert "next_page_token" in error.remedy


async def test_a_page_that_is_too_large_or_a_state_that_is_unknown_is_refused(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        await service.client.submit(diamond())
        for request, field in (
            (pb.ListWorkflowsRequest(page_size=1001), "page_size"),
            (pb.ListWorkflowsRequest(page_size=2**32 - 1), "page_size"),
            (pb.ListWorkflowsRequest(state=17), "state"),  # type: ignore[arg-type]
        ):
            error = await refusal(service.stub.ListWorkflows(request))
            assert isinstance(error, InvalidInputError)
            assert error.field == field
        assert len((await service.stub.ListWorkflows(pb.ListWorkflowsRequest(page_size=1000))).workflows) == 1


async def test_nothing_is_shown_that_a_power_failure_would_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests invariant: nothing is shown before it is durable, whatever way it is asked for."""
    gate = threading.Event()
    gate.set()
    monkeypatch.setattr(os, "fdatasync", lambda _: gate.wait(PATIENCE_S))
    async with gated_service(tmp_path, synchronous="full") as service:
        workflow_id = await service.client.submit(TOOL_THEN_MORE)
        gate.clear()
        asking = {"cancel": asyncio.create_task(service.client.cancel(workflow_id))}
        await until(lambda: service.loop.in_store)
        assert (await service.client.get(workflow_id)).state is WorkflowState.ACTIVE
        asking["list"] = asyncio.create_task(anext(service.client.list()))
        asking["watch"] = asyncio.create_task(anext(service.client.watch(workflow_id)))
        await asyncio.sleep(0.3)
        assert [name for name, task in asking.items() if task.done()] == []
        gate.set()
        async with asyncio.timeout(PATIENCE_S):
            assert await asking["cancel"] is WorkflowState.CANCELLED
            assert (await asking["list"]).state is WorkflowState.CANCELLED
            assert await asking["watch"]
