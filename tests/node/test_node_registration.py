"""The node announces itself, keeps its lease, and announces itself again when the scheduler has forgotten it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from node_server import running, simulated_config
from typing_extensions import override

from maestro.v1 import fleet_pb2, fleet_pb2_grpc, node_pb2


class Fleet(fleet_pb2_grpc.FleetServiceServicer):
    """A scheduler's fleet service that remembers what it was told."""

    def __init__(self) -> None:
        self.registrations: asyncio.Queue[fleet_pb2.RegisterNodeRequest] = asyncio.Queue()
        self.heartbeats: asyncio.Queue[fleet_pb2.HeartbeatRequest] = asyncio.Queue()
        self.forgets = False
        self.refusals = 0

    @override
    async def RegisterNode(self, request, context):
        if self.refusals:
            self.refusals -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "still recovering")
        self.registrations.put_nowait(request)
        generation = self.registrations.qsize()
        return fleet_pb2.RegisterNodeResponse(scheduler_epoch=7, lease_generation=generation, lease_ttl_s=0.15)

    @override
    async def Heartbeat(self, request, context):
        self.heartbeats.put_nowait(request)
        if self.forgets:
            self.forgets = False
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "unknown lease")
        return fleet_pb2.HeartbeatResponse(scheduler_epoch=7)


async def start(fleet: Fleet, address: str = "127.0.0.1:0") -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server()
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(fleet, server)
    port = server.add_insecure_port(address)
    await server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
async def fleet():
    fleet = Fleet()
    server, fleet.address = await start(fleet)
    yield fleet
    await server.stop(0)


async def test_the_node_announces_what_it_is_and_obeys_the_epoch(fleet: Fleet) -> None:
    async with asyncio.timeout(60), running(simulated_config(scheduler_address=fleet.address)) as node:
        told = await fleet.registrations.get()
        assert (told.node, told.address, told.capabilities.engine) == ("n1", node.address, "simulated")
        await fleet.heartbeats.get()
        status = await node.stub.GetStatus(node_pb2.GetStatusRequest())
        assert (status.scheduler_epoch, status.instance_id) == (7, told.instance_id)


async def test_heartbeats_carry_the_lease(fleet: Fleet) -> None:
    async with asyncio.timeout(60), running(simulated_config(scheduler_address=fleet.address)):
        told = await fleet.registrations.get()
        beat = await fleet.heartbeats.get()
        assert (beat.node, beat.instance_id, beat.lease_generation) == ("n1", told.instance_id, 1)


async def test_a_lost_lease_is_taken_anew_by_the_same_instance(fleet: Fleet) -> None:
    async with asyncio.timeout(60), running(simulated_config(scheduler_address=fleet.address)):
        first = await fleet.registrations.get()
        fleet.forgets = True
        assert (await fleet.registrations.get()).instance_id == first.instance_id


async def test_a_scheduler_that_is_not_ready_is_asked_again(fleet: Fleet) -> None:
    fleet.refusals = 2
    async with asyncio.timeout(60), running(simulated_config(scheduler_address=fleet.address)):
        assert await fleet.registrations.get()


async def test_a_node_serves_before_there_is_a_scheduler_and_stops_cleanly() -> None:
    async with asyncio.timeout(60), running(simulated_config(scheduler_address="127.0.0.1:1")) as node:
        assert await node.stub.GetStatus(node_pb2.GetStatusRequest())
