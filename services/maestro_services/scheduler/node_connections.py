"""The ways to the nodes: one channel to each, and the status stream that shows whether it can be reached."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import grpc

from maestro.v1 import node_pb2, node_pb2_grpc
from maestro.wire_errors import MAX_MESSAGE_BYTES
from maestro_services.scheduler.core.events import Event, NodeUnreachable
from maestro_services.scheduler.node_wire import node_status
from maestro_services.scheduler.streams import stream_ended

WATCH_RETRY_S = 0.25
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A peer that is gone without a word is noticed, however quiet the streams are.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
]

log = logging.getLogger(__name__)


class NodeConnection:
    """The connection to one instance of a node.

    ``heard``: its status stream is alive at this moment, and it is that instance that speaks. ``status_at_s``: when
    ``status`` came, on the monotonic clock.
    """

    def __init__(self, node: str, instance_id: str, address: str) -> None:
        """Opens a channel; nothing is sent before it is used."""
        self.node = node
        self.instance_id = instance_id
        self.address = address
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.stub = node_pb2_grpc.NodeServiceStub(self.channel)
        self.status: node_pb2.GetStatusResponse | None = None
        self.status_at_s = 0.0
        self.heard = False
        self.watching: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Lets go of the node."""
        if self.watching is not None:
            self.watching.cancel()
        await self.channel.close(None)


class NodeConnections:
    """The connections by node."""

    def __init__(self, post: Callable[[Event], None], patience_s: float) -> None:
        """``post`` takes what nodes report; a node not heard for ``patience_s`` is reported as unreachable."""
        self._post = post
        self._patience_s = patience_s
        self._connections: dict[str, NodeConnection] = {}

    def get(self, node: str) -> NodeConnection | None:
        """The present connection to a node, if there is one."""
        return self._connections.get(node)

    async def connect(self, node: str, instance_id: str, address: str) -> None:
        """Takes commands for a node to an address from now on, and asks for its whole status.

        The same instance at the same address keeps its channel, and so the streams on it.
        """
        present = self._connections.get(node)
        if present is None or (present.instance_id, present.address) != (instance_id, address):
            await self.disconnect(node)
            present = self._connections[node] = NodeConnection(node, instance_id, address)
        if present.watching is not None:
            present.watching.cancel()
        present.watching = asyncio.create_task(self._watch(present))

    async def disconnect(self, node: str) -> None:
        """Forgets a node's connection."""
        present = self._connections.pop(node, None)
        if present is not None:
            await present.close()

    async def close(self) -> None:
        """Forgets all of them."""
        for node in list(self._connections):
            await self.disconnect(node)

    def last_status(self, node: str) -> node_pb2.GetStatusResponse | None:
        """What the node last reported, if anything; loads under way are as old as they are now.

        A node reports what changes, and the time that passes is no change.
        """
        present = self._connections.get(node)
        if present is None or present.status is None:
            return None
        shown = node_pb2.GetStatusResponse()
        shown.CopyFrom(present.status)
        age_s = time.monotonic() - present.status_at_s
        for accelerator in shown.accelerators:
            for replica in accelerator.replicas:
                if replica.phase == node_pb2.REPLICA_PHASE_LOADING:
                    replica.load_s += age_s
        return shown

    def hears_another(self, node: str, instance_id: str) -> bool:
        """Whether another instance of the node is there and talking to us."""
        present = self._connections.get(node)
        return present is not None and present.heard and present.instance_id != instance_id

    async def _watch(self, connection: NodeConnection) -> None:
        """Turns a node's status stream into events; says so when the node cannot be reached for too long."""
        silent_since, told = time.monotonic(), False
        while True:
            try:
                async with stream_ended():
                    async for response in connection.stub.WatchStatus(node_pb2.WatchStatusRequest()):
                        if response.status.instance_id == connection.instance_id:
                            connection.status, connection.heard, told = response.status, True, False
                            connection.status_at_s = time.monotonic()
                        self._post(node_status(connection.node, response.status))
            except grpc.aio.AioRpcError as error:
                log.info("status stream of %s broke: %s", connection.node, error.details())
            if connection.heard:
                connection.heard, silent_since = False, time.monotonic()
            if not told and time.monotonic() - silent_since > self._patience_s:
                told = True
                self._post(NodeUnreachable(connection.node, connection.instance_id))
            await asyncio.sleep(WATCH_RETRY_S)
