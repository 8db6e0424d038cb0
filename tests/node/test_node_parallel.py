"""A tensor-parallel replica on a served node: loaded over the wire, shown with its peers, started in turn."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from node_builders import POOL_BYTES, make_execute, make_model, make_reference
from node_server import RunningNode, phases, running, simulated_config
from test_node_agent import make_agent, until

from maestro.snapshot import ReplicaPhase
from maestro.v1 import node_pb2
from maestro_node.core.replica import ReplicaKey

MODELS = {"small": make_model(size=2), "other": make_model("other")}


async def load(node: RunningNode, *peers: str) -> node_pb2.ReplicaStatus:
    request = node_pb2.LoadModelRequest(
        scheduler_epoch=1, replica=make_reference(), kv_pool_bytes=POOL_BYTES, peers=peers
    )
    return (await node.stub.LoadModel(request)).replica


async def test_a_replica_is_loaded_with_its_peers_and_shown_with_them() -> None:
    async with running(simulated_config(models=MODELS)) as node:
        assert list((await load(node, "n1/1")).peers) == ["n1/1"]
        status = await node.wait_for(lambda found: phases(found) == [node_pb2.REPLICA_PHASE_READY])
        assert [list(replica.peers) for replica in status.accelerators[0].replicas] == [["n1/1"]]
        assert list(status.accelerators[1].replicas) == []
        assert [item.charged_bytes for item in status.accelerators] == [15_500, 15_500]
        events = [response.event async for response in node.stub.ExecuteStage(make_execute())]
        assert events[-1].finished.usage.completion_tokens == 20
        capabilities = await node.stub.GetCapabilities(node_pb2.GetCapabilitiesRequest())
        assert capabilities.tensor_parallel


async def test_a_load_without_the_peers_it_takes_is_answered_with_what_to_name() -> None:
    async with running(simulated_config(models=MODELS)) as node:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await load(node)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "peers: are not the accelerators" in refusal.value.details()
        assert "name: n1/1" in refusal.value.details()


async def test_starts_that_share_any_accelerator_are_one_at_a_time() -> None:
    """Tests a replica on both accelerators between one on each: none of them waits for ever."""
    agent, engine = make_agent(start_s=0.05)
    keys = [ReplicaKey("n1/1", "small", 1), ReplicaKey("n1/0", "wide", 1), ReplicaKey("n1/0", "small", 1)]
    for key in keys:
        agent.load(1, key, POOL_BYTES, ("n1/1",) if key.model == "wide" else ())
    await asyncio.gather(*(until(agent, key, ReplicaPhase.READY) for key in keys))
    assert engine.most_starting == 1
    await agent.close()
