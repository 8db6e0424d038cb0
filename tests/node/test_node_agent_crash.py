"""A node agent that is killed leaves engines behind; the next agent reaps them, serves, and leaves nothing itself."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from node_builders import make_execute, make_reference
from node_server import RunningNode
from node_waiting import eventually
from real_engine import POOL_BYTES, engine_python, model_path, shared_memory

from maestro.v1 import node_pb2, node_pb2_grpc
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import read_records

pytestmark = pytest.mark.real_engine
AGENT = Path(__file__).parent / "agent_process.py"


@asynccontextmanager
async def agent(folder: Path) -> AsyncGenerator[tuple[asyncio.subprocess.Process, RunningNode], None]:
    """An agent in a process of its own, told to stop at the end unless it is gone."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(AGENT), str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), 120)).decode().strip()
        async with grpc.aio.insecure_channel(address) as channel:
            yield process, RunningNode(address, node_pb2_grpc.NodeServiceStub(channel), channel)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 120)


@pytest.mark.timeout(600)
async def test_a_new_agent_reaps_the_engines_of_a_killed_one_and_stops_cleanly_itself(tmp_path: Path) -> None:
    engine_python()
    model_path()
    async with agent(tmp_path) as (first, node):
        await node.load(pool_bytes=POOL_BYTES)
        answer = [response.event async for response in node.stub.ExecuteStage(make_execute(tokens=5))]
        assert answer[-1].finished.usage.completion_tokens == 5
        (record,) = read_records(tmp_path / "run")
        first.kill()
        await first.wait()
    orphans = members_of(record)
    assert len(orphans) >= 3
    left = {*shared_memory(orphans), record.socket.parent}
    assert len(left) >= 2

    async with agent(tmp_path) as (second, node):
        assert not any(orphan.is_alive for orphan in orphans)
        assert not any(path.exists() for path in left)
        load = node_pb2.LoadModelRequest(scheduler_epoch=1, replica=make_reference(), kv_pool_bytes=POOL_BYTES)
        await node.stub.LoadModel(load)
        (record,) = await eventually(lambda: read_records(tmp_path / "run"))
        loading = await eventually(lambda: members_of(record))
    assert second.returncode == 0
    assert not any(member.is_alive for member in loading)
    assert read_records(tmp_path / "run") == ()
