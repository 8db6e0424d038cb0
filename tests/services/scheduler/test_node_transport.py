"""Commands and connections to nodes, by wire: nodes that know nothing, come back, and are not who they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from core_driver import core_config
from gated_service import GatedStore
from scripted_node import ScriptedNode, scripted_node
from service_world import fleet, until

from maestro.v1 import fleet_pb2, fleet_pb2_grpc, node_pb2
from maestro_services.scheduler.core import SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.records import NodeState
from maestro_services.scheduler.dispatch import Dispatcher
from maestro_services.scheduler.fleet_server import FleetServicer
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.node_connections import NodeConnections
from maestro_services.scheduler.views import Views
from maestro_solver.predictor import LengthPredictor

PATIENCE_S = 60.0


@asynccontextmanager
async def connected(node: ScriptedNode, events: list[on.Event]) -> AsyncIterator[NodeConnections]:
    """The connection to instance "first" of the left node."""
    connections = NodeConnections(events.append, PATIENCE_S)
    await connections.connect("left-node", "first", node.address)
    try:
        yield connections
    finally:
        await connections.close()


async def test_an_attempt_that_its_node_does_not_know_counts_as_stopped() -> None:
    events: list[on.Event] = []
    failures: list[BaseException] = []
    async with scripted_node() as node, connected(node, events) as connections:
        dispatcher = Dispatcher(1, connections, events.append, Views(10), failures.append)
        dispatcher.carry_out(do.CancelAttempt("left-node", "w1/only/1"))
        await until(lambda: on.AttemptStopped("w1/only/1", 0) in events)
        dispatcher.close()
    assert failures == []


async def test_only_the_instance_that_was_registered_counts_as_heard() -> None:
    """Tests that an old agent, still at the address of a new one, does not keep the new one out."""
    events: list[on.Event] = []
    async with scripted_node() as node, connected(node, events) as connections:
        node.report("left over")
        await until(lambda: len(events) == 1)
        assert not connections.hears_another("left-node", "second")
        node.report("first")
        await until(lambda: len(events) == 2)
        assert connections.hears_another("left-node", "second")
        assert not connections.hears_another("left-node", "first")


async def test_a_load_that_nothing_is_reported_of_grows_older() -> None:
    """Tests that operators see how long a load takes, although its node only reports changes."""
    events: list[on.Event] = []
    loading, ready = (
        node_pb2.ReplicaStatus(replica=node_pb2.ReplicaRef(model=model), phase=phase, load_s=0.5)
        for model, phase in (("writer", node_pb2.REPLICA_PHASE_LOADING), ("critic", node_pb2.REPLICA_PHASE_READY))
    )
    async with scripted_node() as node, connected(node, events) as connections:
        node.report("first", node_pb2.AcceleratorStatus(name="left-node-gpu", replicas=(loading, ready)))
        await until(lambda: len(events) == 1)
        await asyncio.sleep(0.01)
        for _ in range(2):
            status = connections.last_status("left-node")
            assert status is not None
            loading_s, ready_s = (replica.load_s for replica in status.accelerators[0].replicas)
            assert loading_s > 0.5
            assert ready_s == 0.5


@dataclass
class FleetService:
    """A fleet's service whose commits wait for the test."""

    store: GatedStore
    loop: SchedulerLoop
    connections: NodeConnections
    stub: fleet_pb2_grpc.FleetServiceStub

    async def register(self, instance_id: str, address: str) -> fleet_pb2.RegisterNodeResponse:
        """The left node's agent announces itself."""
        request = fleet_pb2.RegisterNodeRequest(node="left-node", instance_id=instance_id, address=address)
        for spec in self.loop.core.nodes["left-node"].spec.accelerators:
            request.capabilities.accelerators.add(name=spec.name, kind=spec.kind, memory_bytes=spec.memory_bytes)
        request.capabilities.models.extend(fleet().models)
        return await self.stub.RegisterNode(request, timeout=PATIENCE_S)


@asynccontextmanager
async def fleet_service(folder: Path) -> AsyncIterator[FleetService]:
    """The service on a free port of the loopback, with its gate open."""
    store, views = GatedStore(folder), Views(watcher_buffer=10)
    core = SchedulerCore(core_config(), RoleLengths(LengthPredictor()), epoch=1)

    def carry_out(effect: do.Effect) -> None:
        dispatcher.carry_out(effect)

    loop = SchedulerLoop(core, store, views, carry_out, store.failures.append)
    connections = NodeConnections(loop.post, PATIENCE_S)
    dispatcher = Dispatcher(1, connections, loop.post, views, store.failures.append)
    server = grpc.aio.server()
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(FleetServicer(loop, PATIENCE_S, connections), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield FleetService(store, loop, connections, fleet_pb2_grpc.FleetServiceStub(channel))
    finally:
        await server.stop(None)
        loop.close()
        dispatcher.close()
        await connections.close()
        store.open_gate()
        await asyncio.to_thread(store.close)


async def test_a_node_that_registers_while_it_is_being_forgotten_stays_connected(tmp_path: Path) -> None:
    async with scripted_node() as node, fleet_service(tmp_path) as service:
        await service.register("first", node.address)
        service.store.is_shut = True
        service.loop.post(on.NodeDrainRequested("right-node", undrain=False))
        service.loop.post(on.NodeUnreachable("left-node", "first"))
        registering = asyncio.create_task(service.register("second", node.address))
        await until(lambda: service.loop.core.nodes["left-node"].instance_id == "second")
        service.store.open_gate()
        lease = await registering
        node.report("second")
        await until(lambda: service.loop.core.nodes["left-node"].reported)
        connection = service.connections.get("left-node")
        assert connection is not None
        assert connection.instance_id == "second"
        heartbeat = fleet_pb2.HeartbeatRequest(
            node="left-node", instance_id="second", lease_generation=lease.lease_generation
        )
        assert (await service.stub.Heartbeat(heartbeat, timeout=PATIENCE_S)).scheduler_epoch == 1
        assert service.loop.core.nodes["left-node"].state is NodeState.UP
        assert service.store.failures == []
