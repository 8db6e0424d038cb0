"""Life phases of replicas, both ways."""

from __future__ import annotations

from maestro.codec.scalars import enum_from_proto
from maestro.snapshot import ReplicaPhase
from maestro.v1 import node_pb2 as pb

_PHASES = {
    pb.REPLICA_PHASE_LOADING: ReplicaPhase.LOADING,
    pb.REPLICA_PHASE_READY: ReplicaPhase.READY,
    pb.REPLICA_PHASE_DRAINING: ReplicaPhase.DRAINING,
    pb.REPLICA_PHASE_SLEEPING: ReplicaPhase.SLEEPING,
    pb.REPLICA_PHASE_FAILED: ReplicaPhase.FAILED,
}
_NUMBERS = {phase: number for number, phase in _PHASES.items()}


def replica_phase_to_proto(phase: ReplicaPhase) -> pb.ReplicaPhase.ValueType:
    """Encode a replica's phase."""
    return _NUMBERS[phase]


def replica_phase_from_proto(number: int, field: str = "phase") -> ReplicaPhase:
    """Decode a replica's phase; raises InvalidInputError for an unknown or unspecified one."""
    return enum_from_proto(_PHASES, number, field)
