"""Keeps the node registered with the scheduler: announces it, keeps its lease alive, announces it again."""

from __future__ import annotations

import asyncio
import logging

import grpc
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_random_exponential

from maestro.errors import ConflictError
from maestro.v1 import fleet_pb2, fleet_pb2_grpc
from maestro_node.server.agent import NodeAgent

_LOG = logging.getLogger(__name__)
_HEARTBEATS_PER_TTL = 3
_CALL_TIMEOUT_S = 5.0
_LONGEST_BACKOFF_S = 5.0
_CHANNEL_OPTIONS = (
    # gRPC's own back-off grows to minutes, longer than any lease.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Registration:
    """Runs as long as the node does; a scheduler that is away is asked again and again, with jitter."""

    def __init__(self, scheduler_address: str, announcement: fleet_pb2.RegisterNodeRequest, agent: NodeAgent) -> None:
        self._scheduler_address = scheduler_address
        self._announcement = announcement
        self._agent = agent

    async def run(self) -> None:
        """Register and keep the lease, until cancelled."""
        async with grpc.aio.insecure_channel(self._scheduler_address, options=_CHANNEL_OPTIONS) as channel:
            fleet = fleet_pb2_grpc.FleetServiceStub(channel)
            while True:
                lease = await self._register(fleet)
                await self._keep(fleet, lease)

    async def _register(self, fleet: fleet_pb2_grpc.FleetServiceAsyncStub) -> fleet_pb2.RegisterNodeResponse:
        """Announce the node until the scheduler takes it."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((grpc.aio.AioRpcError, ConflictError)),
            wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_BACKOFF_S),
            before_sleep=before_sleep_log(_LOG, logging.WARNING),
        )
        lease: fleet_pb2.RegisterNodeResponse = await retrying(self._announce, fleet)
        _LOG.info("registered with %s, epoch %d", self._scheduler_address, lease.scheduler_epoch)
        return lease

    async def _announce(self, fleet: fleet_pb2_grpc.FleetServiceAsyncStub) -> fleet_pb2.RegisterNodeResponse:
        """Announce the node once; the scheduler's epoch is obeyed from then on."""
        lease = await fleet.RegisterNode(self._announcement, timeout=_CALL_TIMEOUT_S)
        self._agent.obey(lease.scheduler_epoch)
        return lease

    async def _keep(self, fleet: fleet_pb2_grpc.FleetServiceAsyncStub, lease: fleet_pb2.RegisterNodeResponse) -> None:
        """Send heartbeats; return once the scheduler does not know the lease any more."""
        interval_s = lease.lease_ttl_s / _HEARTBEATS_PER_TTL
        heartbeat = fleet_pb2.HeartbeatRequest(
            node=self._announcement.node,
            instance_id=self._announcement.instance_id,
            lease_generation=lease.lease_generation,
        )
        while True:
            await asyncio.sleep(interval_s)
            try:
                answer = await fleet.Heartbeat(heartbeat, timeout=max(interval_s, 1.0))
                self._agent.obey(answer.scheduler_epoch)
            except ConflictError as error:
                _LOG.warning("heartbeat: %s", error)
                return
            except grpc.aio.AioRpcError as error:
                _LOG.warning("heartbeat: %s %s", error.code().name, error.details())
                if error.code() in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}:
                    return
