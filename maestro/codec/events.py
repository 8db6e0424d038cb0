"""Events of a watched workflow, both ways."""

from __future__ import annotations

from maestro.codec.scalars import instant_from_proto, instant_to_proto, reason_from_proto
from maestro.codec.status import (
    stage_status_from_proto,
    stage_status_to_proto,
    workflow_status_from_proto,
    workflow_status_to_proto,
)
from maestro.errors import InvalidInputError
from maestro.events import Event, StageChanged, StageRestarted, StageTokens, WorkflowChanged
from maestro.v1 import scheduler_pb2 as pb


def event_to_proto(event: Event) -> pb.WatchWorkflowResponse:
    """Encode an event; token events, which have no sequence number, carry 0."""
    message = pb.WatchWorkflowResponse(
        sequence=0 if isinstance(event, StageTokens) else event.sequence, at=instant_to_proto(event.at_s)
    )
    if isinstance(event, WorkflowChanged):
        message.workflow.CopyFrom(workflow_status_to_proto(event.status))
    elif isinstance(event, StageChanged):
        message.stage.CopyFrom(stage_status_to_proto(event.status))
    elif isinstance(event, StageTokens):
        message.tokens.CopyFrom(
            pb.StageTokens(
                stage_id=event.stage_id, attempt_id=event.attempt_id, offset=event.offset_bytes, text=event.text
            )
        )
    else:
        message.restarted.CopyFrom(
            pb.StageRestarted(stage_id=event.stage_id, attempt_id=event.attempt_id, reason=event.reason)
        )
    return message


def event_from_proto(message: pb.WatchWorkflowResponse) -> Event:
    """Decode an event; raises InvalidInputError where it is of no known kind."""
    kind, at_s = message.WhichOneof("event"), instant_from_proto(message.at)
    if kind == "workflow":
        return WorkflowChanged(message.sequence, at_s, workflow_status_from_proto(message.workflow))
    if kind == "stage":
        return StageChanged(message.sequence, at_s, stage_status_from_proto(message.stage))
    if kind == "tokens":
        tokens = message.tokens
        return StageTokens(at_s, tokens.stage_id, tokens.attempt_id, tokens.offset, tokens.text)
    if kind == "restarted":
        restarted = message.restarted
        reason = reason_from_proto(restarted.reason, "restarted.reason")
        if reason is None:
            raise InvalidInputError("restarted.reason", "is empty")
        return StageRestarted(message.sequence, at_s, restarted.stage_id, restarted.attempt_id, reason)
    raise InvalidInputError("event", "is of no known kind", remedy="use matching versions of client and scheduler")
