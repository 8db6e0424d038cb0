"""Runs a node agent inside a test and speaks gRPC to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from node_builders import make_model, make_node, make_reference

from maestro.fleet import ModelSpec
from maestro.v1 import node_pb2, node_pb2_grpc
from maestro_node.config import EngineKind, EngineSettings, NodeConfig
from maestro_node.server.serve import serve


@dataclass
class RunningNode:
    """A served node: its address and a client of it."""

    address: str
    stub: node_pb2_grpc.NodeServiceAsyncStub
    channel: grpc.aio.Channel

    async def load(self, generation: int = 1, pool_bytes: int = 10_000, epoch: int = 1) -> node_pb2.ReplicaRef:
        """Load the small model and wait until it serves."""
        reference = make_reference(generation=generation)
        await self.stub.LoadModel(
            node_pb2.LoadModelRequest(scheduler_epoch=epoch, replica=reference, kv_pool_bytes=pool_bytes)
        )
        await self.wait_for(lambda status: phases(status) == [node_pb2.REPLICA_PHASE_READY])
        return reference

    async def wait_for(
        self, is_so: Callable[[node_pb2.GetStatusResponse], bool], timeout_s: float = 280
    ) -> node_pb2.GetStatusResponse:
        """The first status for which ``is_so`` holds."""
        async for update in self.stub.WatchStatus(node_pb2.WatchStatusRequest(), timeout=timeout_s):
            if is_so(update.status):
                return update.status
        raise AssertionError("the node closed the status stream")


def phases(status: node_pb2.GetStatusResponse) -> list[int]:
    return [replica.phase for item in status.accelerators for replica in item.replicas]


def simulated_config(
    *, models: dict[str, ModelSpec] | None = None, enable_sleep: bool = False, scheduler_address: str = ""
) -> NodeConfig:
    settings = EngineSettings(EngineKind.SIMULATED, Path(), Path(), Path(), enable_sleep=enable_sleep)
    return NodeConfig(
        cluster="c1",
        node=make_node(),
        models=models or {"small": make_model(), "other": make_model("other", weights_bytes=95_000)},
        sources={},
        engine=settings,
        scheduler_address=scheduler_address,
    )


@asynccontextmanager
async def running(config: NodeConfig) -> AsyncGenerator[RunningNode, None]:
    """Serve the node for the time of the block; it has to stop cleanly at its end."""
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(config, stop, address.set_result))
    done, _ = await asyncio.wait({serving, address}, return_when=asyncio.FIRST_COMPLETED)
    if serving in done:
        serving.result()
    async with grpc.aio.insecure_channel(address.result()) as channel:
        yield RunningNode(address.result(), node_pb2_grpc.NodeServiceStub(channel), channel)
    stop.set()
    await asyncio.wait_for(serving, 240)
