"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
import networkx as nx

from maestro.address import DEFAULT_SCHEDULER_ADDRESS
from maestro.client.arguments import checked_address, checked_limit
from maestro.client.calls import (
    CHANNEL_OPTIONS,
    DEFAULT_TIMEOUT_S,
    REWATCH_DELAY_S,
    PlanReport,
    cancel_request,
    closed_error,
    complete_request,
    ends_at_s,
    get_request,
    left_s,
    list_request,
    not_ended,
    plan_report,
    predictor_report,
    submit_request,
)
from maestro.client.result import WorkflowResult
from maestro.client.watching import Watch
from maestro.codec import workflow_state_from_proto, workflow_status_from_proto
from maestro.costs import PredictorReport
from maestro.events import Event
from maestro.status import WorkflowState, WorkflowStatus
from maestro.v1 import scheduler_pb2 as pb
from maestro.v1.scheduler_pb2_grpc import SchedulerServiceStub
from maestro.wire_errors import from_rpc_error, typed_errors
from maestro.workflow import WorkflowSpec

if TYPE_CHECKING:
    from maestro.v1.scheduler_pb2_grpc import SchedulerServiceAsyncStub  # a name that only the type stubs have


class AsyncClient:
    """A connection to one scheduler; use it in ``async with``, or call ``close``.

    ``timeout_s`` bounds every single call. Methods raise the typed errors of ``maestro.errors``: InvalidInputError
    with field and remedy, NotFoundError, ConflictError, OverloadedError, UnreachableError, DeadlineExceededError.
    """

    def __init__(self, address: str = DEFAULT_SCHEDULER_ADDRESS, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._address = checked_address(address)
        self._timeout_s = checked_limit("timeout_s", timeout_s)
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._open_stub: SchedulerServiceAsyncStub | None = SchedulerServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; closing it again does nothing."""
        self._open_stub = None
        await self._channel.close(None)

    async def submit(self, workflow: WorkflowSpec | nx.DiGraph[str] | Path | str) -> str:
        """Submit a workflow, a text being the path of its file; once the id is returned, it survives every crash."""
        request = submit_request(workflow)
        with typed_errors(self._address):
            return (await self._stub.SubmitWorkflow(request, timeout=self._timeout_s)).workflow_id

    async def watch(
        self,
        workflow_id: str,
        *,
        after_sequence: int = 0,
        tokens: bool = False,
        patience_s: float = 60.0,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the workflow's events after ``after_sequence`` until it ends, each transition once.

        A broken stream is resumed where it broke, also over a restart of the scheduler; after ``patience_s`` seconds
        of waiting without any event UnreachableError (or OverloadedError) is raised, and after ``timeout_s`` in all
        DeadlineExceededError.
        """
        watch = Watch(workflow_id, after_sequence, tokens, patience_s)
        until_s = ends_at_s(timeout_s)
        while not watch.ended:
            limit_s = left_s(until_s)
            stream = self._stub.WatchWorkflow(watch.request(), timeout=limit_s)
            try:
                async for message in stream:
                    for event in watch.take(message):
                        yield event
                return
            except grpc.aio.AioRpcError as error:
                delay_s = watch.delay_after(from_rpc_error(error, self._address))
            finally:
                stream.cancel()
            await asyncio.sleep(delay_s if limit_s is None else min(delay_s, limit_s))

    async def result(self, workflow_id: str, *, timeout_s: float | None = None, check: bool = True) -> WorkflowResult:
        """Wait until the workflow has ended and return what became of it.

        Raises DeadlineExceededError where that takes longer than ``timeout_s``; the workflow goes on. With ``check``
        raises WorkflowNotSucceededError, which carries the result, for a workflow that failed or was cancelled.
        """
        try:
            async with asyncio.timeout(checked_limit("timeout_s", timeout_s)):
                while True:
                    async for _ in self.watch(workflow_id):
                        pass
                    result = WorkflowResult(await self.get(workflow_id))
                    if result.ended:
                        return result.checked() if check else result
                    await asyncio.sleep(REWATCH_DELAY_S)
        except TimeoutError as error:
            raise not_ended(workflow_id, timeout_s) from error

    async def get(self, workflow_id: str) -> WorkflowStatus:
        """Return the workflow's state with all its stages."""
        request = get_request(workflow_id)
        with typed_errors(self._address):
            response = await self._stub.GetWorkflow(request, timeout=self._timeout_s)
        return workflow_status_from_proto(response.workflow)

    async def list(self, *, tenant: str = "", state: WorkflowState | None = None) -> AsyncIterator[WorkflowStatus]:
        """Yield workflows without their stages, newest first, page after page."""
        page_token = ""
        while True:
            request = list_request(tenant, state, page_token)
            with typed_errors(self._address):
                page = await self._stub.ListWorkflows(request, timeout=self._timeout_s)
            for workflow in page.workflows:
                yield workflow_status_from_proto(workflow)
            page_token = page.next_page_token
            if not page_token:
                return

    async def cancel(self, workflow_id: str) -> WorkflowState:
        """Cancel what has not ended and return the state after that; an ended workflow keeps its state."""
        request = cancel_request(workflow_id)
        with typed_errors(self._address):
            response = await self._stub.CancelWorkflow(request, timeout=self._timeout_s)
        return workflow_state_from_proto(response.state)

    async def complete_stage(
        self, workflow_id: str, stage_id: str, *, output: str | None = None, error: str | None = None
    ) -> None:
        """End a tool stage with its ``output``, which later stages may quote, or fail it for good with ``error``."""
        request = complete_request(workflow_id, stage_id, output, error)
        with typed_errors(self._address):
            await self._stub.CompleteStage(request, timeout=self._timeout_s)

    async def plan(self) -> PlanReport:
        """Return the plan in force and where plans came from."""
        with typed_errors(self._address):
            return plan_report(await self._stub.GetPlan(pb.GetPlanRequest(), timeout=self._timeout_s))

    async def predictor(self) -> PredictorReport:
        """Return what forecasts output lengths, and how it did since the scheduler started."""
        with typed_errors(self._address):
            return predictor_report(await self._stub.GetPredictor(pb.GetPredictorRequest(), timeout=self._timeout_s))

    @property
    def _stub(self) -> SchedulerServiceAsyncStub:
        """The service; raises InvalidInputError once the client is closed."""
        if self._open_stub is None:
            raise closed_error(self._address)
        return self._open_stub
