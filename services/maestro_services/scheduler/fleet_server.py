"""FleetService: what nodes and operators call."""

from __future__ import annotations

import grpc

from maestro.codec.scalars import instant_to_proto
from maestro.errors import ConflictError, InvalidInputError, NotFoundError
from maestro.v1 import fleet_pb2 as pb
from maestro.v1 import fleet_pb2_grpc
from maestro.wire_errors import to_status
from maestro_services.scheduler.abort import Context, typed_errors
from maestro_services.scheduler.core.events import NodeDrainRequested, NodeRegistered, NodeSeen
from maestro_services.scheduler.core.records import NodeRecord, NodeState
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.node_connections import NodeConnections

_STATES = {
    NodeState.ABSENT: pb.NODE_STATE_ABSENT,
    NodeState.UP: pb.NODE_STATE_UP,
    NodeState.DRAINING: pb.NODE_STATE_DRAINING,
    NodeState.LOST: pb.NODE_STATE_LOST,
}


class FleetServicer(fleet_pb2_grpc.FleetServiceServicer):
    """Keeps the nodes' leases."""

    def __init__(self, loop: SchedulerLoop, lease_ttl_s: float, connections: NodeConnections) -> None:
        """``connections`` are the ways back to the nodes."""
        self._loop = loop
        self._lease_ttl_s = lease_ttl_s
        self._connections = connections

    async def RegisterNode(self, request: pb.RegisterNodeRequest, context: Context) -> pb.RegisterNodeResponse:
        """A node announces itself.

        It is connected once that is settled, so that an earlier command to let go of the node does not undo it.
        """
        async with typed_errors(context):
            node = self._node(request.node)
            self._check(node, request)
            offered = request.capabilities
            await self._loop.post_durably(
                NodeRegistered(
                    request.node,
                    request.instance_id,
                    request.address,
                    frozenset(offered.models),
                    tensor_parallel=offered.tensor_parallel,
                )
            )
            await self._connections.connect(request.node, request.instance_id, request.address)
        return pb.RegisterNodeResponse(
            scheduler_epoch=self._loop.core.epoch,
            lease_generation=node.lease_generation,
            lease_ttl_s=self._lease_ttl_s,
        )

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatResponse:
        """Keeps a lease alive."""
        node = self._loop.core.nodes.get(request.node)
        lease = (request.instance_id, request.lease_generation)
        if node is None or lease != (node.instance_id, node.lease_generation):
            stale = to_status(
                ConflictError(f'the lease of node "{request.node}" is not known here; register again'),
                grpc.StatusCode.FAILED_PRECONDITION,
            )
            await context.abort(stale.code, stale.details, stale.trailing_metadata)
        self._loop.post(NodeSeen(request.node))
        return pb.HeartbeatResponse(scheduler_epoch=self._loop.core.epoch)

    async def ListNodes(self, request: pb.ListNodesRequest, context: Context) -> pb.ListNodesResponse:  # noqa: ARG002 - gRPC's
        """All nodes of the scenario."""
        return pb.ListNodesResponse(nodes=[self._info(node) for node in self._loop.core.nodes.values()])

    async def DrainNode(self, request: pb.DrainNodeRequest, context: Context) -> pb.DrainNodeResponse:
        """Takes a node out of use, or back into it."""
        async with typed_errors(context):
            node = self._node(request.node)
            self._loop.post(NodeDrainRequested(request.node, request.undrain))
        return pb.DrainNodeResponse(state=_STATES[node.state])

    def _node(self, name: str) -> NodeRecord:
        nodes = self._loop.core.nodes
        if name not in nodes:
            raise NotFoundError(f'the scenario has no node "{name}"; it has {", ".join(sorted(nodes))}')
        return nodes[name]

    def _check(self, node: NodeRecord, request: pb.RegisterNodeRequest) -> None:
        """What the node says of itself must agree with the scenario."""
        if not request.instance_id or not request.address:
            raise InvalidInputError(
                "instance_id" if not request.instance_id else "address", "is empty", remedy="every node sends one"
            )
        if self._connections.hears_another(request.node, request.instance_id):
            raise ConflictError(
                f'another agent of node "{request.node}" is at work at {node.address}; stop it, or give this one the '
                "name of another node of the scenario"
            )
        stated = {a.name: a.memory_bytes for a in request.capabilities.accelerators}
        expected = {a.name: a.memory_bytes for a in node.spec.accelerators}
        if stated != expected:
            raise InvalidInputError(
                "capabilities.accelerators",
                f"differ from the scenario's {expected}",
                value=stated,
                remedy="start node and scheduler with the same scenario file",
            )

    def _info(self, node: NodeRecord) -> pb.NodeInfo:
        info = pb.NodeInfo(
            node=node.spec.name,
            cluster=node.cluster,
            address=node.address,
            state=_STATES[node.state],
            last_seen=instant_to_proto(node.last_seen_s) if node.address else None,
        )
        status = self._connections.last_status(node.spec.name)
        if status is not None:
            info.status.CopyFrom(status)
        return info
