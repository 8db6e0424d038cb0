"""What the scheduler and a node say to each other, between wire form and the core's values."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from maestro.codec import messages_to_proto, replica_phase_from_proto, sampling_to_proto
from maestro.reasons import Reason
from maestro.v1 import node_pb2
from maestro_services.scheduler.core.events import AttemptReport, NodeStatusReported, ReplicaReport
from maestro_services.scheduler.core.outcome import ExecuteAttempt


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node answered that it will not do as told. ``retryable``: another attempt may succeed."""

    reason: Reason
    retryable: bool


_REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION: Refusal(Reason.STALE_GENERATION, retryable=True),
    grpc.StatusCode.RESOURCE_EXHAUSTED: Refusal(Reason.MEMORY_EXCEEDED, retryable=True),
    grpc.StatusCode.NOT_FOUND: Refusal(Reason.NODE_LOST, retryable=True),
    grpc.StatusCode.INVALID_ARGUMENT: Refusal(Reason.ENGINE_REJECTED, retryable=False),
    grpc.StatusCode.UNIMPLEMENTED: Refusal(Reason.ENGINE_REJECTED, retryable=False),
}


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal | None:
    """What a node's error means; None where it is no answer of the node's (it was not reached, or broke)."""
    return _REFUSALS.get(error.code())


def reason_of(text: str) -> Reason:
    """The reason a node gave; one that this version does not know counts as a rejection."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.ENGINE_REJECTED


def execute_request(effect: ExecuteAttempt, epoch: int) -> node_pb2.ExecuteStageRequest:
    """The command to run an attempt."""
    return node_pb2.ExecuteStageRequest(
        scheduler_epoch=epoch,
        attempt_id=effect.attempt_id,
        replica=node_pb2.ReplicaRef(accelerator=effect.accelerator, model=effect.model, generation=effect.generation),
        messages=messages_to_proto(effect.messages),
        sampling=sampling_to_proto(effect.sampling),
        max_tokens=effect.max_tokens,
        priority=effect.priority,
        kv_reservation_bytes=effect.kv_bytes,
    )


def node_status(node: str, status: node_pb2.GetStatusResponse) -> NodeStatusReported:
    """A node's status as an event."""
    replicas = tuple(
        ReplicaReport(
            accelerator=replica.replica.accelerator,
            model=replica.replica.model,
            generation=replica.replica.generation,
            phase=replica_phase_from_proto(replica.phase),
            kv_pool_bytes=replica.kv_pool_bytes,
            load_s=replica.load_s,
            detail=replica.detail,
            peers=tuple(replica.peers),
        )
        for accelerator in status.accelerators
        for replica in accelerator.replicas
    )
    attempts = tuple(
        AttemptReport(attempt.attempt_id, attempt.state == node_pb2.ATTEMPT_STATE_RUNNING, attempt.completion_tokens)
        for attempt in status.attempts
    )
    return NodeStatusReported(node, status.instance_id, replicas, attempts)
