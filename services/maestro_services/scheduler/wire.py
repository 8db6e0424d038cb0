"""Transitions in the wire form that watchers get and the store keeps."""

from __future__ import annotations

from dataclasses import replace

from maestro.codec import stage_status_to_proto, workflow_status_to_proto
from maestro.codec.scalars import instant_to_proto
from maestro.v1 import scheduler_pb2
from maestro_services.scheduler.core.outcome import StageChanged, Transition


def transition_to_wire(transition: Transition) -> scheduler_pb2.WatchWorkflowResponse:
    """A transition as an event; a workflow's own transitions are without its stages."""
    event = scheduler_pb2.WatchWorkflowResponse(sequence=transition.sequence, at=instant_to_proto(transition.at_s))
    if isinstance(transition, StageChanged):
        event.stage.CopyFrom(stage_status_to_proto(transition.status))
    else:
        event.workflow.CopyFrom(workflow_status_to_proto(replace(transition.status, stages=())))
    return event
