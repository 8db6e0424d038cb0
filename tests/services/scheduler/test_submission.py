"""Submissions whose clients leave, come back, and come twice: each key is accepted once, and the bound holds."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from core_driver import core_config
from gated_service import GatedService, gated_service
from service_world import PATIENCE_S, call, diamond, fleet

from maestro.codec import workflow_to_proto
from maestro.errors import ConflictError, InvalidInputError, OverloadedError
from maestro.special_tokens import SpecialTokens
from maestro.status import WorkflowState
from maestro.tokens import estimate_tokens
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro.workflow import ChatMessage, WorkflowSpec
from maestro_services.scheduler.core import CoreConfig, PromptRules
from maestro_services.scheduler.submission import Accepted

KEYED = diamond(idempotency_key="once")


def submitting(service: GatedService, message: workflow_pb2.Workflow) -> asyncio.Task[Accepted]:
    """A client's call under way."""
    return asyncio.create_task(service.submissions.accept(message))


async def abandoned(call: asyncio.Task[Accepted]) -> None:
    """A client that has stopped waiting."""
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def workflows_stored(service: GatedService) -> int:
    """How many workflows are durable."""
    return len([status async for status in service.client.list()])


async def test_a_key_whose_client_left_before_the_commit_is_accepted_once(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        service.store.is_shut = True
        first = submitting(service, workflow_to_proto(KEYED))
        await service.store.holds(1)
        await abandoned(first)
        retry = submitting(service, workflow_to_proto(KEYED))
        await asyncio.sleep(0.1)
        service.store.open_gate()
        assert (await asyncio.wait_for(retry, PATIENCE_S)).again
        assert await workflows_stored(service) == 1
        assert service.store.failures == []


async def test_a_client_that_timed_out_gets_the_first_id_when_it_tries_again(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        service.store.is_shut = True
        request = scheduler_pb2.SubmitWorkflowRequest(workflow=workflow_to_proto(KEYED))
        while not service.store.held:  # a call may time out before it is heard
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await service.stub.SubmitWorkflow(request, timeout=0.3)
        retry = asyncio.create_task(service.client.submit(KEYED))
        await asyncio.sleep(0.1)
        service.store.open_gate()
        workflow_id = await asyncio.wait_for(retry, PATIENCE_S)
        assert await service.client.submit(KEYED) == workflow_id
        assert await workflows_stored(service) == 1
        assert service.store.failures == []


async def test_those_who_wait_for_a_key_are_answered_though_its_first_client_left(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        service.store.is_shut = True
        first = submitting(service, workflow_to_proto(KEYED))
        await service.store.holds(1)
        waiters = [submitting(service, workflow_to_proto(KEYED)) for _ in range(3)]
        other = submitting(service, workflow_to_proto(replace(KEYED, priority=1)))
        await asyncio.sleep(0)
        await abandoned(first)
        await abandoned(waiters.pop())
        service.store.open_gate()
        answers = await asyncio.wait_for(asyncio.gather(*waiters), PATIENCE_S)
        assert len({answer.workflow_id for answer in answers}) == 1
        assert all(answer.again for answer in answers)
        with pytest.raises(ConflictError, match="once"):
            await asyncio.wait_for(other, PATIENCE_S)


async def test_a_submission_counts_until_it_is_durable_though_its_client_left(tmp_path: Path) -> None:
    """Tests that nobody walks around the bound by leaving and coming again."""
    async with gated_service(tmp_path, queue=2) as service:
        service.store.is_shut = True
        calls = [submitting(service, workflow_to_proto(spec)) for spec in (diamond(), KEYED)]
        await service.store.holds(2)
        for call in calls:
            await abandoned(call)
        with pytest.raises(OverloadedError, match="submit_queue"):
            await service.submissions.accept(workflow_to_proto(diamond()))
        assert len(service.store.held) == 2
        service.store.open_gate()
        async with asyncio.timeout(PATIENCE_S):
            while await workflows_stored(service) < 2:
                await asyncio.sleep(0.01)
        assert not (await service.submissions.accept(workflow_to_proto(diamond()))).again


async def test_a_refused_submission_frees_its_place(tmp_path: Path) -> None:
    async with gated_service(tmp_path, queue=1) as service:
        for _ in range(3):
            with pytest.raises(InvalidInputError, match="app"):
                await service.submissions.accept(workflow_to_proto(diamond(app="")))
        assert not (await service.submissions.accept(workflow_to_proto(KEYED))).again
        assert (await service.submissions.accept(workflow_to_proto(KEYED))).again


def long_prompt(chars: int, **changes: object) -> WorkflowSpec:
    """A workflow of one stage with a prompt of that length."""
    stage = call("only")
    return WorkflowSpec("essays", (replace(stage, messages=(ChatMessage("user", "word " * (chars // 5)),)),), **changes)  # type: ignore[arg-type]


def noting(counts: list[tuple[bool, int]]) -> CoreConfig:
    """Settings under which every count notes whether it was made on the event loop's thread, and of what length."""

    def count(text: str) -> int:
        counts.append((threading.current_thread() is threading.main_thread(), len(text)))
        return estimate_tokens(text)

    return core_config(prompts={name: PromptRules(SpecialTokens(), count) for name in fleet().models})


async def test_a_long_prompt_is_counted_away_from_the_event_loop(tmp_path: Path) -> None:
    """Tests that nobody waits for it: the core finds the count made, and takes it."""
    counts: list[tuple[bool, int]] = []
    async with gated_service(tmp_path, config=noting(counts)) as service:
        for chars in (10_000, 50_000):
            counts.clear()
            await service.submissions.accept(workflow_to_proto(long_prompt(chars)))
            assert counts
            assert not any(on_loop for on_loop, _ in counts)
        statuses = [status async for status in service.client.list()]
        assert [status.state for status in statuses] == [WorkflowState.FAILED, WorkflowState.ACTIVE]


async def test_a_short_prompt_is_not_counted_before_that_is_needed(tmp_path: Path) -> None:
    counts: list[tuple[bool, int]] = []
    async with gated_service(tmp_path, config=noting(counts)) as service:
        await service.submissions.accept(workflow_to_proto(long_prompt(4_000)))
    assert counts == []


async def test_a_large_submission_of_a_key_is_not_overtaken_by_a_small_one(tmp_path: Path) -> None:
    async with gated_service(tmp_path) as service:
        large = submitting(service, workflow_to_proto(long_prompt(1_000_000, idempotency_key="once")))
        small = submitting(service, workflow_to_proto(KEYED))
        assert not (await large).again
        with pytest.raises(ConflictError, match="once"):
            await small
