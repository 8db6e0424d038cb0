"""What the scheduler and a node say to each other, between wire form and the core's values."""

from __future__ import annotations

from maestro.codec import messages_to_proto, replica_phase_from_proto, sampling_to_proto
from maestro.v1 import node_pb2
from maestro_services.scheduler.core.events import AttemptReport, NodeStatusReported, ReplicaReport
from maestro_services.scheduler.core.outcome import ExecuteAttempt


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
        )
        for accelerator in status.accelerators
        for replica in accelerator.replicas
    )
    attempts = tuple(
        AttemptReport(attempt.attempt_id, attempt.state == node_pb2.ATTEMPT_STATE_RUNNING)
        for attempt in status.attempts
    )
    return NodeStatusReported(node, status.instance_id, replicas, attempts)
