"""SchedulerService: what clients call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from maestro.codec import plan_to_proto, stage_status_to_proto, workflow_state_from_proto
from maestro.errors import ConflictError, InvalidInputError, NotFoundError, OverloadedError
from maestro.reasons import Reason
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

T = TypeVar("T")

DEFAULT_PAGE = 50
LARGEST_PAGE = 1000
LARGEST_SEQUENCE = 2**63 - 1  # where the store's integers end


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers clients from what is durable."""

    def __init__(
        self,
        loop: SchedulerLoop,
        store: Store,
        views: Views,
        submissions: Submissions,
        plans: Callable[[], tuple[dict[str, int], dict[str, int], int]],
    ) -> None:
        """``plans`` counts the plans from each source, the fallbacks of each reason, and the solver's restarts."""
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
            size = _page_size(request.page_size)
            before = _page_start(request.page_token)
            state = workflow_state_from_proto(request.state) if request.state else None
            page = partial(self._store.page, size=size + 1, before=before, tenant=request.tenant, state=state)
            rows = await self._stored(page)
        following = str(rows[size - 1][0]) if len(rows) > size else ""
        return pb.ListWorkflowsResponse(workflows=[row for _, row in rows[:size]], next_page_token=following)

    async def CancelWorkflow(self, request: pb.CancelWorkflowRequest, context: Context) -> pb.CancelWorkflowResponse:
        """Cancels what has not ended."""
        async with typed_errors(context):
            await self._recorded(request.workflow_id)
            await self._loop.post_durably(CancelRequested(request.workflow_id))
            status = await self._recorded(request.workflow_id)
        return pb.CancelWorkflowResponse(state=status.state)

    async def CompleteStage(self, request: pb.CompleteStageRequest, context: Context) -> pb.CompleteStageResponse:
        """Ends a tool stage; the same result again changes nothing, and another one is refused."""
        async with typed_errors(context):
            _check_result(request)
            stage = await self._stage(request.workflow_id, request.stage_id)
            if _is_running_tool(stage):
                key = StageKey(request.workflow_id, request.stage_id)
                await self._loop.post_durably(ToolCompleted(key, request.output, request.error))
                stage = await self._stage(request.workflow_id, request.stage_id)  # something else may have come first
            if not _has_ended_with(stage, request):
                raise ConflictError(_why_not(stage))
        return pb.CompleteStageResponse()

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:  # noqa: ARG002 - gRPC's
        """The plan in force."""
        by_source, by_reason, restarts = self._plans()
        response = pb.GetPlanResponse(
            plans_by_source=by_source, fallbacks_by_reason=by_reason, solver_restarts=restarts
        )
        plan = self._loop.core.plan
        if plan is not None:
            response.plan.CopyFrom(plan_to_proto(plan, plan.taken_at_s))
        return response

    async def GetPredictor(self, request: pb.GetPredictorRequest, context: Context) -> pb.GetPredictorResponse:  # noqa: ARG002 - gRPC's
        """What forecasts lengths, and how well."""
        report = self._loop.core.predictor_report()
        seen = report.coverage
        return pb.GetPredictorResponse(
            source=report.source,
            fallback_reason=report.fallback_reason,
            drifts=report.drifts,
            outputs=seen.outputs,
            within_p50=seen.within_p50,
            within_p90=seen.within_p90,
            within_p95=seen.within_p95,
        )

    async def WatchWorkflow(
        self, request: pb.WatchWorkflowRequest, context: Context
    ) -> AsyncIterator[pb.WatchWorkflowResponse]:
        """What the store has, then what happens, until the workflow's end."""
        async with typed_errors(context):
            with self._views.watch(request.workflow_id, tokens=request.tokens) as watcher:
                status = await self._recorded(request.workflow_id)
                last = min(request.after_sequence, LARGEST_SEQUENCE)
                for event in await self._stored(partial(self._store.events, request.workflow_id, last)):
                    last = event.sequence
                    yield event
                    if _is_end(event):
                        return
                if status.state != workflow_pb2.WORKFLOW_STATE_ACTIVE and last >= status.sequence:
                    return
                while (following := await watcher.next()) is not None:
                    if not following.sequence or following.sequence > last:
                        last = following.sequence or last
                        yield following
                    if _is_end(following):
                        return
            raise OverloadedError(f"this watcher was too slow; watch again with after_sequence {last}")

    async def _stored(self, read: Callable[[], T]) -> T:
        """What the store has, once it is durable: it also gives what is only written."""
        found = await asyncio.to_thread(read)
        await self._loop.all_durable()
        return found

    async def _recorded(self, workflow_id: str) -> workflow_pb2.WorkflowStatus:
        """The workflow's durable status from memory or store, not to be changed; raises NotFoundError."""
        if not workflow_id:
            raise InvalidInputError("workflow_id", "is missing", remedy="give the id that submitting returned")
        status = self._views.get(workflow_id)
        if status is not None:
            return status
        stored = await self._stored(partial(self._store.workflow, workflow_id))
        if stored is None:
            raise NotFoundError(f'there is no workflow "{workflow_id}"; list the workflows to see those there are')
        return whole_status(stored)

    async def _status(self, workflow_id: str) -> workflow_pb2.WorkflowStatus:
        """A copy of the durable status in which each waiting stage says why it waits now."""
        shown = workflow_pb2.WorkflowStatus()
        shown.CopyFrom(await self._recorded(workflow_id))
        waiting = self._loop.core.waiting(workflow_id)
        notes = self._loop.core.load_notes(workflow_id, self._loop.clock.now())
        for stage in shown.stages:
            if stage.state == workflow_pb2.STAGE_STATE_WAITING and stage.id in waiting:
                now = stage_status_to_proto(waiting[stage.id])
                stage.reason, stage.detail = now.reason, notes.get(stage.id, now.detail)
                if now.HasField("forecast"):
                    stage.forecast.CopyFrom(now.forecast)
        return shown

    async def _stage(self, workflow_id: str, stage_id: str) -> workflow_pb2.StageStatus:
        status = await self._recorded(workflow_id)
        for stage in status.stages:
            if stage.id == stage_id:
                return stage
        raise NotFoundError(f'workflow "{workflow_id}" has no stage "{stage_id}"')


def _check_result(request: pb.CompleteStageRequest) -> None:
    """Raises InvalidInputError where there is no result, or an error that says nothing."""
    result = request.WhichOneof("result")
    if result is None:
        raise InvalidInputError("result", "is missing", remedy="set output or error")
    if result == "error" and not request.error:
        raise InvalidInputError("error", "is empty", remedy="say why the tool failed, or set output if it did not")


def _is_running_tool(stage: workflow_pb2.StageStatus) -> bool:
    """Whether a stage may be completed; only an LLM stage has attempts."""
    return stage.state == workflow_pb2.STAGE_STATE_RUNNING and not stage.attempt_id


def _has_ended_with(stage: workflow_pb2.StageStatus, request: pb.CompleteStageRequest) -> bool:
    """Whether the request's result is the one that ended a tool stage."""
    if stage.attempt_id:
        return False
    if request.WhichOneof("result") == "output":
        return stage.state == workflow_pb2.STAGE_STATE_SUCCEEDED and stage.output == request.output
    failed = stage.state == workflow_pb2.STAGE_STATE_FAILED and stage.reason == Reason.TOOL_FAILED
    return failed and stage.detail == request.error


def _why_not(stage: workflow_pb2.StageStatus) -> str:
    """Why a stage cannot be completed with a result."""
    if stage.attempt_id:
        return f'stage "{stage.id}" is an LLM stage; only tool stages are completed'
    state = StageState(workflow_pb2.StageState.Name(stage.state).removeprefix("STAGE_STATE_").lower())
    if state in (StageState.SUCCEEDED, StageState.FAILED):
        return f'stage "{stage.id}" has {state} with another result, which stands'
    return f'stage "{stage.id}" is {state}; only a running tool stage can be completed'


def _page_size(asked: int) -> int:
    """How many workflows a page has; raises InvalidInputError."""
    if asked > LARGEST_PAGE:
        remedy = f"ask for at most {LARGEST_PAGE} and go on with next_page_token"
        raise InvalidInputError("page_size", "is too large", value=asked, remedy=remedy)
    return asked or DEFAULT_PAGE


def _page_start(token: str) -> int | None:
    """The number before which a page starts, None for the first one; raises InvalidInputError."""
    if not token:
        return None
    number = int(token) if token.isascii() and token.isdigit() and len(token) <= len(str(LARGEST_SEQUENCE)) else None
    if number is None or number > LARGEST_SEQUENCE:
        raise InvalidInputError(
            "page_token", "is not one of ours", value=token, remedy="use next_page_token as it came"
        )
    return number


def _is_end(event: pb.WatchWorkflowResponse) -> bool:
    """Whether nothing follows the event."""
    ended = event.HasField("workflow") and event.workflow.state != workflow_pb2.WORKFLOW_STATE_ACTIVE
    return bool(ended)
