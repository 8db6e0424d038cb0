# ruff: noqa: N802 - gRPC names its methods so
"""A node by wire whose every answer the test decides: it knows no attempts, and reports what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from maestro.v1 import node_pb2, node_pb2_grpc

Context = grpc.aio.ServicerContext


class ScriptedNode(node_pb2_grpc.NodeServiceServicer):
    """Answers by a real server on the loopback at ``address``. ``statuses`` are sent to whoever watches, in order."""

    def __init__(self) -> None:
        """A node that has nothing to report yet."""
        self.address = ""
        self.statuses: asyncio.Queue[node_pb2.GetStatusResponse] = asyncio.Queue()
        self.acknowledged: list[str] = []

    def report(self, instance_id: str, *accelerators: node_pb2.AcceleratorStatus) -> None:
        """Shows a status of an instance that has no attempts, and by default no replicas."""
        self.statuses.put_nowait(node_pb2.GetStatusResponse(instance_id=instance_id, accelerators=accelerators))

    async def WatchStatus(
        self, request: node_pb2.WatchStatusRequest, context: Context
    ) -> AsyncIterator[node_pb2.WatchStatusResponse]:
        """Sends the statuses as the test gives them."""
        while True:
            yield node_pb2.WatchStatusResponse(status=await self.statuses.get())

    async def CancelStage(self, request: node_pb2.CancelStageRequest, context: Context) -> node_pb2.CancelStageResponse:
        """Knows no attempt."""
        await context.abort(grpc.StatusCode.NOT_FOUND, f"no attempt {request.attempt_id}")

    async def AckResult(self, request: node_pb2.AckResultRequest, context: Context) -> node_pb2.AckResultResponse:
        """Notes what it may forget."""
        self.acknowledged += request.attempt_ids
        return node_pb2.AckResultResponse()


@asynccontextmanager
async def scripted_node() -> AsyncIterator[ScriptedNode]:
    """A node that listens on a free port."""
    node, server = ScriptedNode(), grpc.aio.server()
    node_pb2_grpc.add_NodeServiceServicer_to_server(node, server)
    node.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield node
    finally:
        await server.stop(None)
