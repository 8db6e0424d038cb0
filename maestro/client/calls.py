"""What both clients send and how they read the answers: functions between the domain and the wire, and time limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

from maestro.client.arguments import checked_limit, checked_state, checked_text, checked_workflow
from maestro.codec import plan_from_proto, workflow_state_to_proto, workflow_to_proto
from maestro.costs import CoverageCounts, PredictorReport
from maestro.errors import DeadlineExceededError, InvalidInputError
from maestro.plan import Plan
from maestro.status import WorkflowState
from maestro.v1 import scheduler_pb2 as pb
from maestro.wire_errors import MAX_MESSAGE_BYTES
from maestro.workflow import WorkflowSpec

DEFAULT_TIMEOUT_S = 30.0
REWATCH_DELAY_S = 1.0  # after a stream that ended although the workflow has not
PAGE_SIZE = 200

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 310_000),  # finds a dead peer; servers refuse pings more often than every 5 minutes
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),  # gRPC's own 120 s would outlast the patience of a watch
)


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The plan in force (None before the first), and how many plans and fallbacks there were since the start.

    ``solver_restarts``: how often the solver's process was replaced, since it was stuck or had crashed.
    """

    plan: Plan | None
    plans_by_source: Mapping[str, int]
    fallbacks_by_reason: Mapping[str, int]
    solver_restarts: int = 0


def submit_request(workflow: WorkflowSpec | nx.DiGraph[str] | Path | str) -> pb.SubmitWorkflowRequest:
    """Encode a submission; raises InvalidInputError for what cannot be one."""
    return pb.SubmitWorkflowRequest(workflow=workflow_to_proto(checked_workflow(workflow)))


def get_request(workflow_id: str) -> pb.GetWorkflowRequest:
    """Encode a question for one workflow."""
    return pb.GetWorkflowRequest(workflow_id=checked_text("workflow_id", workflow_id))


def cancel_request(workflow_id: str) -> pb.CancelWorkflowRequest:
    """Encode a cancellation."""
    return pb.CancelWorkflowRequest(workflow_id=checked_text("workflow_id", workflow_id))


def list_request(tenant: str, state: WorkflowState | None, page_token: str) -> pb.ListWorkflowsRequest:
    """Encode the request for one page."""
    request = pb.ListWorkflowsRequest(page_size=PAGE_SIZE, page_token=page_token, tenant=checked_text("tenant", tenant))
    if state is not None:
        request.state = workflow_state_to_proto(checked_state("state", state))
    return request


def complete_request(workflow_id: str, stage_id: str, output: str | None, error: str | None) -> pb.CompleteStageRequest:
    """Encode a tool's result: exactly one of ``output`` and ``error``."""
    request = pb.CompleteStageRequest(
        workflow_id=checked_text("workflow_id", workflow_id), stage_id=checked_text("stage_id", stage_id)
    )
    if output is not None and error is None:
        request.output = checked_text("output", output)
    elif error is not None and output is None:
        request.error = checked_text("error", error)
    else:
        raise InvalidInputError("output", "a tool ends with an output or an error", remedy="give exactly one of them")
    return request


def plan_report(response: pb.GetPlanResponse) -> PlanReport:
    """Decode the plan in force."""
    return PlanReport(
        plan=plan_from_proto(response.plan) if response.HasField("plan") else None,
        plans_by_source=dict(response.plans_by_source),
        fallbacks_by_reason=dict(response.fallbacks_by_reason),
        solver_restarts=response.solver_restarts,
    )


def predictor_report(response: pb.GetPredictorResponse) -> PredictorReport:
    """Decode what forecasts output lengths."""
    coverage = CoverageCounts(response.outputs, response.within_p50, response.within_p90, response.within_p95)
    return PredictorReport(response.source, response.fallback_reason, response.drifts, coverage)


def not_ended(workflow_id: str, timeout_s: float | None) -> DeadlineExceededError:
    """Say that a workflow took longer than a caller wanted to wait."""
    return DeadlineExceededError(f"workflow {workflow_id} has not ended within {timeout_s} s; it goes on")


def closed_error(address: str) -> InvalidInputError:
    """Say that a client was used after it was closed."""
    return InvalidInputError("client", "is closed", value=address, remedy="open another one, or close this one later")


def ends_at_s(timeout_s: float | None) -> float | None:
    """Return the moment of the monotonic clock at which a time limit that begins now is over; None: never."""
    limit_s = checked_limit("timeout_s", timeout_s)
    return None if limit_s is None else time.monotonic() + limit_s


def left_s(until_s: float | None) -> float | None:
    """Return the seconds left until a moment of the monotonic clock; raises DeadlineExceededError once it is over."""
    if until_s is None:
        return None
    found_s = until_s - time.monotonic()
    if found_s <= 0:
        raise DeadlineExceededError("the time that was given is over")
    return found_s
