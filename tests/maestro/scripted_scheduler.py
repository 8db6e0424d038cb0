# ruff: noqa: N802 - gRPC names its methods so
"""A scheduler service in this process that keeps workflows in memory and breaks streams where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from maestro.codec import event_to_proto, workflow_from_proto, workflow_state_to_proto, workflow_status_to_proto
from maestro.errors import MaestroError, NotFoundError
from maestro.events import Event
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus
from maestro.v1 import scheduler_pb2 as pb
from maestro.v1.scheduler_pb2_grpc import SchedulerServiceServicer, add_SchedulerServiceServicer_to_server
from maestro.wire_errors import MAX_MESSAGE_BYTES, to_status
from maestro.workflow import WorkflowSpec

SIZES = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]


class ScriptedScheduler(SchedulerServiceServicer):
    """``events`` are what a watch tells; ``breaks``: after how many events each watch in turn breaks, and how."""

    def __init__(self) -> None:
        self.submitted: list[WorkflowSpec] = []
        self.completed: list[pb.CompleteStageRequest] = []
        self.watched_from: list[int] = []
        self.watches: asyncio.Queue[int] = asyncio.Queue()
        self.events: list[Event] = []
        self.breaks: list[tuple[int, grpc.StatusCode | MaestroError]] = []
        self.statuses: dict[str, WorkflowStatus] = {}
        self.refusal: MaestroError | None = None
        self.plan = pb.GetPlanResponse()
        self.page_size = 2

    async def SubmitWorkflow(self, request, context):
        await self._refuse(context)
        self.submitted.append(workflow_from_proto(request.workflow))
        return pb.SubmitWorkflowResponse(workflow_id=f"w{len(self.submitted)}")

    async def WatchWorkflow(self, request, context):
        await self._refuse(context)
        self.watched_from.append(request.after_sequence)
        self.watches.put_nowait(request.after_sequence)
        limit, how = self.breaks.pop(0) if self.breaks else (len(self.events), None)
        left = [event for event in self.events if not _is_known(event, request.after_sequence)]
        for event in left[:limit]:
            yield event_to_proto(event)
        if isinstance(how, MaestroError):
            status = to_status(how)
            await context.abort(status.code, status.details, status.trailing_metadata)
        elif how is not None:
            await context.abort(how, "the stream breaks here")

    async def GetWorkflow(self, request, context):
        if request.workflow_id not in self.statuses:
            self.refusal = NotFoundError(f"there is no workflow {request.workflow_id}")
        await self._refuse(context)
        return pb.GetWorkflowResponse(workflow=workflow_status_to_proto(self.statuses[request.workflow_id]))

    async def ListWorkflows(self, request, context):
        first = int(request.page_token or 0)
        found = [status for status in self.statuses.values() if request.tenant in ("", status.tenant)]
        if request.state:
            found = [status for status in found if workflow_state_to_proto(status.state) == request.state]
        last = first + self.page_size
        return pb.ListWorkflowsResponse(
            workflows=[workflow_status_to_proto(status) for status in found[first:last]],
            next_page_token=str(last) if last < len(found) else "",
        )

    async def CancelWorkflow(self, request, context):
        await self._refuse(context)
        return pb.CancelWorkflowResponse(state=workflow_state_to_proto(WorkflowState.CANCELLED))

    async def CompleteStage(self, request, context):
        await self._refuse(context)
        self.completed.append(request)
        return pb.CompleteStageResponse()

    async def GetPlan(self, request, context):
        await self._refuse(context)
        return self.plan

    async def _refuse(self, context) -> None:
        if self.refusal is not None:
            status = to_status(self.refusal)
            await context.abort(status.code, status.details, status.trailing_metadata)


def _is_known(event: Event, after_sequence: int) -> bool:
    """Tell whether a watcher asks not to be told; what has no sequence number is told to all who watch."""
    sequence = getattr(event, "sequence", 0)
    return bool(sequence) and sequence <= after_sequence


@asynccontextmanager
async def serving(service: ScriptedScheduler, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve ``service`` and yield its address."""
    server = grpc.aio.server(options=SIZES)
    add_SchedulerServiceServicer_to_server(service, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def status(workflow_id: str = "w1", state: WorkflowState = WorkflowState.ACTIVE, **changes) -> WorkflowStatus:
    """A workflow's status with a stage of each outcome."""
    stages = (
        StageStatus("draft", StageState.SUCCEEDED, output="a draft"),
        StageStatus("review", StageState.FAILED, detail="no engine"),
    )
    given = {"tenant": "t", "app": "a", "slo_class": "s", "accepted_at_s": 1.0, "deadline_at_s": 2.0, "stages": stages}
    return WorkflowStatus(id=workflow_id, state=state, **{**given, **changes})
