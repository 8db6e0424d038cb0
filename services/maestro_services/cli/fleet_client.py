"""What an operator asks the scheduler about its nodes, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from maestro.codec import replica_phase_from_proto
from maestro.snapshot import ReplicaPhase
from maestro.v1 import fleet_pb2, node_pb2
from maestro.v1.fleet_pb2_grpc import FleetServiceStub
from maestro.wire_errors import typed_errors

if TYPE_CHECKING:
    from maestro.v1.fleet_pb2_grpc import FleetServiceAsyncStub  # a name that only the type stubs have

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as its node last reported it; ``generation`` grows with every load.

    ``load_s``: seconds it has been loading, or that its load took. ``peers``: the accelerators that it takes beside
    the one it is listed with; the bytes are those of the whole replica.
    """

    model: str
    generation: int
    phase: ReplicaPhase
    fixed_bytes: int
    kv_pool_bytes: int
    kv_reserved_bytes: int
    load_s: float
    detail: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AcceleratorView:
    """An accelerator with the memory that its replicas are charged for."""

    name: str
    memory_bytes: int
    charged_bytes: int
    replicas: tuple[ReplicaView, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the scenario. ``state`` is absent, up, draining or lost; ``address`` is empty before it registered."""

    name: str
    cluster: str
    address: str
    state: str
    running_attempts: int
    accelerators: tuple[AcceleratorView, ...]


async def list_nodes(address: str) -> tuple[NodeView, ...]:
    """Return all nodes of the scenario, up or not; raises UnreachableError where no scheduler answers."""
    async with _fleet(address) as stub:
        response = await stub.ListNodes(fleet_pb2.ListNodesRequest(), timeout=_TIMEOUT_S)
    return tuple(_node_view(node) for node in response.nodes)


async def drain_node(address: str, node: str, *, undrain: bool) -> str:
    """Let a node finish what runs and take nothing new (or work again); returns its state after that."""
    async with _fleet(address) as stub:
        request = fleet_pb2.DrainNodeRequest(node=node, undrain=undrain)
        response = await stub.DrainNode(request, timeout=_TIMEOUT_S)
    return _state_name(response.state)


@asynccontextmanager
async def _fleet(address: str) -> AsyncIterator[FleetServiceAsyncStub]:
    async with grpc.aio.insecure_channel(address) as channel:
        with typed_errors(address):
            yield FleetServiceStub(channel)


def _node_view(node: fleet_pb2.NodeInfo) -> NodeView:
    running = sum(attempt.state == node_pb2.ATTEMPT_STATE_RUNNING for attempt in node.status.attempts)
    accelerators = tuple(_accelerator_view(accelerator) for accelerator in node.status.accelerators)
    return NodeView(node.node, node.cluster, node.address, _state_name(node.state), running, accelerators)


def _accelerator_view(accelerator: node_pb2.AcceleratorStatus) -> AcceleratorView:
    replicas = tuple(
        ReplicaView(
            model=replica.replica.model,
            generation=replica.replica.generation,
            phase=replica_phase_from_proto(replica.phase),
            fixed_bytes=replica.fixed_bytes,
            kv_pool_bytes=replica.kv_pool_bytes,
            kv_reserved_bytes=replica.kv_reserved_bytes,
            load_s=replica.load_s,
            detail=replica.detail,
            peers=tuple(replica.peers),
        )
        for replica in accelerator.replicas
    )
    return AcceleratorView(accelerator.name, accelerator.memory_bytes, accelerator.charged_bytes, replicas)


def _state_name(state: fleet_pb2.NodeState.ValueType) -> str:
    """Return the state as people read it."""
    return fleet_pb2.NodeState.Name(state).removeprefix("NODE_STATE_").lower()
