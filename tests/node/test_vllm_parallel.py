"""A real vLLM engine over three accelerators at once, each of them a core of this machine.

Three, since the attention heads of SmolLM2-135M (9, with 3 for keys and values) are shared out to ranks whole.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from engine_conformance import collect
from node_builders import make_request
from node_waiting import eventually
from real_engine import POOL_BYTES, real_model, real_node, real_settings, real_sources

from maestro.fleet import NodeSpec
from maestro.reasons import Reason
from maestro_node.engines.interface import Device, EngineError, Finished, ReplicaLaunch
from maestro_node.engines.process_identity import ProcessIdentity
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import read_records
from maestro_node.engines.vllm import VllmEngine

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(900)]
SIZE = 3
TOKENS_IN_POOL = POOL_BYTES // 23_040


def three_cores() -> NodeSpec:
    """Three accelerators of a core each; a machine with fewer has some of them on the same core."""
    cores, node = sorted(os.sched_getaffinity(0)), real_node()
    specs = [
        replace(node.accelerators[0], name=f"n1/{index}", cpu_cores=(cores[index % len(cores)],))
        for index in range(SIZE)
    ]
    return replace(node, accelerators=tuple(specs))


def ranks(members: tuple[ProcessIdentity, ...]) -> dict[str, ProcessIdentity]:
    """The processes that vLLM calls workers, by the name it gave them."""
    names = {psutil.Process(member.pid).cmdline()[0].strip(): member for member in members}
    return {name: member for name, member in names.items() if "Worker" in name}


async def test_an_engine_over_three_accelerators_serves_and_ends_whole_when_a_rank_is_killed(tmp_path: Path) -> None:
    settings = replace(real_settings(tmp_path), start_timeout_s=600.0, nice=0)  # three ranks load one after the other
    node = three_cores()
    engine = VllmEngine(settings, node, real_sources())
    await engine.prepare()
    devices = tuple(Device(spec, index) for index, spec in enumerate(node.accelerators))
    model = replace(real_model(), tensor_parallel_size=SIZE)
    replica = await engine.start(ReplicaLaunch(devices, model, 1, POOL_BYTES))
    try:
        await replica.wait_ready()
        (record,) = read_records(settings.runtime_dir)
        assert record.peers == ("n1/1", "n1/2")
        workers = ranks(record.members)
        assert len(workers) == SIZE
        events = await collect(replica, make_request("served", tokens=8))
        assert isinstance(events[-1], Finished)
        assert events[-1].completion_tokens == 8
        assert _tokens_in_pool(Path(record.log)) == pytest.approx(TOKENS_IN_POOL, rel=0.05)

        decoding = asyncio.create_task(collect(replica, make_request("doomed", tokens=500)))

        async def decodes() -> bool:
            return (await replica.usage()).running_requests == 1

        await eventually(decodes)
        os.kill(workers[max(workers)].pid, signal.SIGKILL)
        with pytest.raises(EngineError) as error:
            await decoding
        assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_DIED, True)
    finally:
        await replica.stop()
        await engine.close()
    assert not members_of(record)
    assert read_records(settings.runtime_dir) == ()


def _tokens_in_pool(log: Path) -> int:
    """What vLLM says that its whole KV cache holds, of all ranks together."""
    line = next(line for line in log.read_text().splitlines() if "KV cache size:" in line)
    return int(line.partition("KV cache size:")[2].split()[0].replace(",", ""))
