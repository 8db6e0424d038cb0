"""Writes the node's state for the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.fleet import NodeSpec
from maestro.snapshot import ReplicaPhase
from maestro.v1 import node_pb2
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.ledger import AcceleratorLedger
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import Replica, ReplicaKey
from maestro_node.engines.interface import EngineCapabilities
from maestro_node.server.attempt_run import AttemptRun

_PHASES = {
    ReplicaPhase.LOADING: node_pb2.REPLICA_PHASE_LOADING,
    ReplicaPhase.READY: node_pb2.REPLICA_PHASE_READY,
    ReplicaPhase.DRAINING: node_pb2.REPLICA_PHASE_DRAINING,
    ReplicaPhase.SLEEPING: node_pb2.REPLICA_PHASE_SLEEPING,
    ReplicaPhase.FAILED: node_pb2.REPLICA_PHASE_FAILED,
}
_ATTEMPT_STATES = {
    AttemptState.RUNNING: node_pb2.ATTEMPT_STATE_RUNNING,
    AttemptState.FINISHED: node_pb2.ATTEMPT_STATE_FINISHED,
    AttemptState.FAILED: node_pb2.ATTEMPT_STATE_FAILED,
}


def capabilities_report(
    node: NodeSpec, instance_id: str, engine: EngineCapabilities, models: Iterable[str]
) -> node_pb2.GetCapabilitiesResponse:
    """Say what the node has and can do."""
    return node_pb2.GetCapabilitiesResponse(
        node=node.name,
        instance_id=instance_id,
        engine=engine.name,
        engine_version=engine.version,
        kv_elastic=engine.kv_elastic,
        sleep=engine.sleep,
        tensor_parallel=engine.tensor_parallel,
        accelerators=[
            node_pb2.AcceleratorCapability(name=item.name, kind=item.kind, memory_bytes=item.memory_bytes)
            for item in node.accelerators
        ],
        models=sorted(models),
        host_memory_bytes=node.host_memory_bytes,
    )


def status_report(
    core: NodeCore, runs: Mapping[str, AttemptRun], instance_id: str, now_s: float
) -> node_pb2.GetStatusResponse:
    """Say what is resident, running and kept, at ``now_s`` of the agent's clock."""
    return node_pb2.GetStatusResponse(
        node=core.spec.name,
        instance_id=instance_id,
        version=core.version,
        accelerators=[_accelerator(ledger, now_s) for ledger in core.ledgers.values()],
        attempts=[_attempt(attempt, runs.get(attempt.id)) for attempt in core.attempts],
        scheduler_epoch=core.scheduler_epoch,
    )


def replica_report(replica: Replica, now_s: float) -> node_pb2.ReplicaStatus:
    """Say how a replica is, at ``now_s`` of the agent's clock."""
    is_loading = replica.phase is ReplicaPhase.LOADING
    return node_pb2.ReplicaStatus(
        replica=_reference(replica.key),
        phase=_PHASES[replica.phase],
        fixed_bytes=replica.model.fixed_bytes,
        kv_pool_bytes=replica.kv_pool_bytes,
        kv_budget_bytes=replica.kv_budget_bytes,
        kv_reserved_bytes=replica.reserved_bytes,
        load_s=now_s - replica.load_began_s if is_loading else replica.load_took_s or 0.0,
        detail=replica.detail,
        peers=replica.peers,
    )


def _accelerator(ledger: AcceleratorLedger, now_s: float) -> node_pb2.AcceleratorStatus:
    return node_pb2.AcceleratorStatus(
        name=ledger.spec.name,
        memory_bytes=ledger.spec.memory_bytes,
        charged_bytes=ledger.charged_bytes,
        replicas=[replica_report(replica, now_s) for replica in ledger.replicas.values()],
    )


def _attempt(attempt: Attempt, run: AttemptRun | None) -> node_pb2.AttemptStatus:
    return node_pb2.AttemptStatus(
        attempt_id=attempt.id,
        replica=_reference(attempt.replica),
        state=_ATTEMPT_STATES[attempt.state],
        kv_reserved_bytes=attempt.reserved_bytes,
        completion_tokens=run.completion_tokens if run is not None else 0,
    )


def _reference(key: ReplicaKey) -> node_pb2.ReplicaRef:
    return node_pb2.ReplicaRef(accelerator=key.accelerator, model=key.model, generation=key.generation)
