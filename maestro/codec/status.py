"""What is known of workflows and stages, both ways and without loss."""

from __future__ import annotations

from maestro.codec.scalars import enum_from_proto, instant_from_proto, instant_to_proto, reason_from_proto
from maestro.costs import LengthForecast
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro.v1 import workflow_pb2 as pb

_WORKFLOW_STATES = {
    pb.WORKFLOW_STATE_ACTIVE: WorkflowState.ACTIVE,
    pb.WORKFLOW_STATE_SUCCEEDED: WorkflowState.SUCCEEDED,
    pb.WORKFLOW_STATE_FAILED: WorkflowState.FAILED,
    pb.WORKFLOW_STATE_CANCELLED: WorkflowState.CANCELLED,
}
_WORKFLOW_STATE_NUMBERS = {state: number for number, state in _WORKFLOW_STATES.items()}
_STAGE_STATES = {
    pb.STAGE_STATE_WAITING: StageState.WAITING,
    pb.STAGE_STATE_RUNNING: StageState.RUNNING,
    pb.STAGE_STATE_SUCCEEDED: StageState.SUCCEEDED,
    pb.STAGE_STATE_FAILED: StageState.FAILED,
    pb.STAGE_STATE_CANCELLED: StageState.CANCELLED,
}
_STAGE_STATE_NUMBERS = {state: number for number, state in _STAGE_STATES.items()}


def workflow_state_to_proto(state: WorkflowState) -> pb.WorkflowState.ValueType:
    """Encode a workflow's state."""
    return _WORKFLOW_STATE_NUMBERS[state]


def workflow_state_from_proto(number: int, field: str = "state") -> WorkflowState:
    """Decode a workflow's state; raises InvalidInputError for an unknown or unspecified one."""
    return enum_from_proto(_WORKFLOW_STATES, number, field)


def workflow_status_to_proto(status: WorkflowStatus) -> pb.WorkflowStatus:
    """Encode a workflow's status with its stages."""
    return pb.WorkflowStatus(
        id=status.id,
        tenant=status.tenant,
        app=status.app,
        slo_class=status.slo_class,
        state=_WORKFLOW_STATE_NUMBERS[status.state],
        reason=status.reason or "",
        detail=status.detail,
        accepted_at=instant_to_proto(status.accepted_at_s),
        deadline=instant_to_proto(status.deadline_at_s),
        ended_at=instant_to_proto(status.ended_at_s),
        met_deadline=status.met_deadline,
        stages=[stage_status_to_proto(stage) for stage in status.stages],
        labels=dict(status.labels),
        sequence=status.sequence,
    )


def workflow_status_from_proto(message: pb.WorkflowStatus) -> WorkflowStatus:
    """Decode a workflow's status."""
    return WorkflowStatus(
        id=message.id,
        tenant=message.tenant,
        app=message.app,
        slo_class=message.slo_class,
        state=workflow_state_from_proto(message.state, "workflow.state"),
        accepted_at_s=instant_from_proto(message.accepted_at),
        deadline_at_s=instant_from_proto(message.deadline),
        reason=reason_from_proto(message.reason, "workflow.reason"),
        detail=message.detail,
        ended_at_s=instant_from_proto(message.ended_at) if message.HasField("ended_at") else None,
        stages=tuple(stage_status_from_proto(stage) for stage in message.stages),
        labels=dict(message.labels),
        sequence=message.sequence,
    )


def stage_status_to_proto(status: StageStatus) -> pb.StageStatus:
    """Encode a stage's status."""
    return pb.StageStatus(
        id=status.id,
        state=_STAGE_STATE_NUMBERS[status.state],
        reason=status.reason or "",
        detail=status.detail,
        role=status.role,
        model=status.model,
        accelerator=status.accelerator,
        peers=status.peers,
        attempts=status.attempts,
        lost_attempts=status.lost_attempts,
        refused_attempts=status.refused_attempts,
        attempt_id=status.attempt_id,
        replica_generation=status.replica_generation,
        forecast=_forecast_to_proto(status.forecast),
        kv_reserved_tokens=status.kv_reserved_tokens,
        usage=None if status.usage is None else _usage_to_proto(status.usage),
        output=status.output,
        finish_reason=status.finish_reason,
        ready_at=instant_to_proto(status.ready_at_s),
        started_at=instant_to_proto(status.started_at_s),
        ended_at=instant_to_proto(status.ended_at_s),
        first_token_at=instant_to_proto(status.first_token_at_s),
    )


def stage_status_from_proto(message: pb.StageStatus) -> StageStatus:
    """Decode a stage's status."""
    forecast, usage = message.forecast, message.usage
    return StageStatus(
        id=message.id,
        state=enum_from_proto(_STAGE_STATES, message.state, "stage.state"),
        reason=reason_from_proto(message.reason, "stage.reason"),
        detail=message.detail,
        role=message.role,
        model=message.model,
        accelerator=message.accelerator,
        peers=tuple(message.peers),
        attempts=message.attempts,
        lost_attempts=message.lost_attempts,
        refused_attempts=message.refused_attempts,
        attempt_id=message.attempt_id,
        replica_generation=message.replica_generation,
        forecast=LengthForecast(forecast.p50_tokens, forecast.p90_tokens, forecast.p95_tokens)
        if message.HasField("forecast")
        else None,
        kv_reserved_tokens=message.kv_reserved_tokens,
        usage=TokenUsage(usage.prompt_tokens, usage.completion_tokens) if message.HasField("usage") else None,
        output=message.output,
        finish_reason=message.finish_reason,
        ready_at_s=instant_from_proto(message.ready_at) if message.HasField("ready_at") else None,
        started_at_s=instant_from_proto(message.started_at) if message.HasField("started_at") else None,
        ended_at_s=instant_from_proto(message.ended_at) if message.HasField("ended_at") else None,
        first_token_at_s=instant_from_proto(message.first_token_at) if message.HasField("first_token_at") else None,
    )


def _forecast_to_proto(forecast: LengthForecast | None) -> pb.LengthForecast | None:
    if forecast is None:
        return None
    return pb.LengthForecast(
        p50_tokens=forecast.p50_tokens, p90_tokens=forecast.p90_tokens, p95_tokens=forecast.p95_tokens
    )


def _usage_to_proto(usage: TokenUsage) -> pb.Usage:
    return pb.Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
