"""SchedulerService: what clients call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from maestro.codec import plan_to_proto, stage_status_to_proto, workflow_state_from_proto
from maestro.errors import ConflictError, InvalidInputError, NotFoundError, OverloadedError
from maestro.snapshot import StageKey
from maestro.status import StageState
from maestro.v1 import scheduler_pb2 as pb
from maestro.v1 import scheduler_pb2_grpc, workflow_pb2
from maestro_services.scheduler.abort import Context, typed_errors
from maestro_services.scheduler.core.events import CancelRequested, ToolCompleted
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.recovery import whole_status
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.submission import Submissions
from maestro_services.scheduler.views import Views

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers clients from what is durable."""

    def __init__(
        self,
        loop: SchedulerLoop,
        store: Store,
        views: Views,
        submissions: Submissions,
        plans: Callable[[], tuple[dict[str, int], dict[str, int]]],
    ) -> None:
        """``plans`` gives how many plans came from each source, and how many fallbacks had each reason."""
        self._loop = loop
        self._store = store
        self._views = views
        self._submissions = submissions
        self._plans = plans

    async def SubmitWorkflow(self, request: pb.SubmitWorkflowRequest, context: Context) -> pb.SubmitWorkflowResponse:
        """Accepts a workflow durably."""
        async with typed_errors(context):
            if not request.HasField("workflow"):
                raise InvalidInputError("workflow", "is missing", remedy="set the request's workflow")
            accepted = await self._submissions.accept(request.workflow)
        return pb.SubmitWorkflowResponse(workflow_id=accepted.workflow_id, already_accepted=accepted.again)

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.GetWorkflowResponse:
        """The durable status, with the reasons why stages wait now."""
        async with typed_errors(context):
            status = await self._status(request.workflow_id)
        return pb.GetWorkflowResponse(workflow=status)

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Context) -> pb.ListWorkflowsResponse:
        """One page, newest first."""
        async with typed_errors(context):
            size = min(request.page_size or DEFAULT_PAGE, LARGEST_PAGE)
            before = _page_start(request.page_token)
            state = workflow_state_from_proto(request.state) if request.state else None
            rows = await asyncio.to_thread(
                self._store.page, size=size + 1, before=before, tenant=request.tenant, state=state
            )
        following = str(rows[size - 1][0]) if len(rows) > size else ""
        return pb.ListWorkflowsResponse(workflows=[row for _, row in rows[:size]], next_page_token=following)

    async def CancelWorkflow(self, request: pb.CancelWorkflowRequest, context: Context) -> pb.CancelWorkflowResponse:
        """Cancels what has not ended."""
        async with typed_errors(context):
            await self._status(request.workflow_id)
            await self._loop.post_durably(CancelRequested(request.workflow_id))
            status = await self._status(request.workflow_id)
        return pb.CancelWorkflowResponse(state=status.state)

    async def CompleteStage(self, request: pb.CompleteStageRequest, context: Context) -> pb.CompleteStageResponse:
        """Ends a tool stage; the same result again changes nothing."""
        async with typed_errors(context):
            if request.WhichOneof("result") is None:
                raise InvalidInputError("result", "is missing", remedy="set output or error")
            stage = await self._stage(request.workflow_id, request.stage_id)
            if not self._completed_already(stage, request):
                key = StageKey(request.workflow_id, request.stage_id)
                await self._loop.post_durably(ToolCompleted(key, request.output, request.error))
        return pb.CompleteStageResponse()

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:  # noqa: ARG002 - gRPC's
        """The plan in force."""
        by_source, by_reason = self._plans()
        response = pb.GetPlanResponse(plans_by_source=by_source, fallbacks_by_reason=by_reason)
        plan = self._loop.core.plan
        if plan is not None:
            response.plan.CopyFrom(plan_to_proto(plan, plan.taken_at_s))
        return response

    async def WatchWorkflow(
        self, request: pb.WatchWorkflowRequest, context: Context
    ) -> AsyncIterator[pb.WatchWorkflowResponse]:
        """What the store has, then what happens, until the workflow's end."""
        async with typed_errors(context):
            with self._views.watch(request.workflow_id, tokens=request.tokens) as watcher:
                status = await self._status(request.workflow_id)
                last = request.after_sequence
                for event in await asyncio.to_thread(self._store.events, request.workflow_id, last):
                    last = event.sequence
                    yield event
                    if _is_end(event):
                        return
                if status.state != workflow_pb2.WORKFLOW_STATE_ACTIVE and last >= status.sequence:
                    return
                while (following := await watcher.next()) is not None:
                    if following.sequence and following.sequence <= last:
                        continue
                    last = following.sequence or last
                    yield following
                    if _is_end(following):
                        return
            raise OverloadedError(f"this watcher was too slow; watch again with after_sequence {last}")

    async def _status(self, workflow_id: str) -> workflow_pb2.WorkflowStatus:
        """The workflow from memory or store; raises NotFoundError."""
        status = self._views.get(workflow_id)
        if status is None:
            stored = await asyncio.to_thread(self._store.workflow, workflow_id)
            if stored is None:
                raise NotFoundError(f'there is no workflow "{workflow_id}"; ListWorkflows shows those there are')
            return whole_status(stored)
        waiting = self._loop.core.waiting(workflow_id)
        shown = workflow_pb2.WorkflowStatus()
        shown.CopyFrom(status)
        for stage in shown.stages:
            if stage.state == workflow_pb2.STAGE_STATE_WAITING and stage.id in waiting:
                now = stage_status_to_proto(waiting[stage.id])
                stage.reason, stage.detail = now.reason, now.detail
                if now.HasField("forecast"):
                    stage.forecast.CopyFrom(now.forecast)
        return shown

    async def _stage(self, workflow_id: str, stage_id: str) -> workflow_pb2.StageStatus:
        status = await self._status(workflow_id)
        for stage in status.stages:
            if stage.id == stage_id:
                return stage
        raise NotFoundError(f'workflow "{workflow_id}" has no stage "{stage_id}"')

    def _completed_already(self, stage: workflow_pb2.StageStatus, request: pb.CompleteStageRequest) -> bool:
        """Whether the same result was delivered before; raises ConflictError where the stage cannot take one."""
        name = f'stage "{stage.id}"'
        if stage.state == workflow_pb2.STAGE_STATE_SUCCEEDED and stage.output == request.output:
            return True
        if stage.state != workflow_pb2.STAGE_STATE_RUNNING or stage.attempt_id:
            state = StageState(workflow_pb2.StageState.Name(stage.state).removeprefix("STAGE_STATE_").lower())
            raise ConflictError(f"{name} is {state}; only a running tool stage can be completed")
        return False


def _page_start(token: str) -> int | None:
    if not token:
        return None
    if not token.isdigit():
        raise InvalidInputError(
            "page_token", "is not one of ours", value=token, remedy="use next_page_token as it came"
        )
    return int(token)


def _is_end(event: pb.WatchWorkflowResponse) -> bool:
    """Whether nothing follows the event."""
    ended = event.HasField("workflow") and event.workflow.state != workflow_pb2.WORKFLOW_STATE_ACTIVE
    return bool(ended)
