"""Real vLLM: it conforms, dies honestly, and leaves nothing behind. Two engines are started side by side."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from engine_conformance import EngineConformance, collect
from node_builders import make_request
from node_waiting import eventually
from real_engine import POOL_BYTES, real_model, real_node, real_settings, real_sources, shared_memory

from maestro.reasons import Reason
from maestro.workflow import ChatMessage, Sampling
from maestro_node.engines.interface import Device, EngineError, Finished, GenerationRequest, ReplicaLaunch, TextChunk
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import ReplicaRecord, read_records
from maestro_node.engines.vllm import VllmEngine
from maestro_node.engines.vllm.audit import sample_replicas
from maestro_node.engines.vllm.engine import VllmReplica

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Engines:
    """Two ready replicas on two cores; the second is there to be broken."""

    engine: VllmEngine
    sound: VllmReplica
    victim: VllmReplica
    runtime_dir: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory):
    settings = real_settings(tmp_path_factory.mktemp("vllm"))
    node = real_node()
    engine = VllmEngine(settings, node, real_sources())
    await engine.prepare()
    devices = [Device(item, index) for index, item in enumerate(node.accelerators)]
    launches = [ReplicaLaunch((device,), real_model(), 1, POOL_BYTES) for device in devices]
    replicas = [await engine.start(launch) for launch in launches]
    try:
        await asyncio.gather(*(replica.wait_ready() for replica in replicas))
        yield Engines(engine, replicas[0], replicas[1], settings.runtime_dir)
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas))
        await engine.close()
    assert read_records(settings.runtime_dir) == ()


def record_of(engines: Engines, accelerator: str) -> ReplicaRecord:
    return next(record for record in read_records(engines.runtime_dir) if record.accelerator == accelerator)


class TestVllmConforms(EngineConformance):
    @pytest.fixture
    def engine(self, engines: Engines) -> VllmEngine:
        return engines.engine

    @pytest.fixture
    def replica(self, engines: Engines) -> VllmReplica:
        return engines.sound


async def test_the_engine_tells_its_version(engines: Engines) -> None:
    assert engines.engine.capabilities.version[0].isdigit()


async def test_a_real_model_answers_sensibly_and_stops_by_itself(engines: Engines) -> None:
    question = (ChatMessage("user", "What is the capital of France? Answer in one sentence."),)
    events = await collect(engines.sound, GenerationRequest("paris", question, Sampling(temperature=0.0), 60))
    assert "Paris" in "".join(event.text for event in events if isinstance(event, TextChunk))
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.finish_reason == "stop"


async def test_a_parameter_that_vllm_refuses_is_final(engines: Engines) -> None:
    bad = GenerationRequest("bad", (ChatMessage("user", "hi"),), Sampling(temperature=9.0), 5)
    with pytest.raises(EngineError, match="temperature") as error:
        await collect(engines.sound, bad)
    assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_REJECTED, False)


async def test_the_record_names_every_process_and_only_the_owner_reaches_the_socket(engines: Engines) -> None:
    record = record_of(engines, "n1/0")
    assert len(record.members) >= 3
    assert set(record.members) == members_of(record)
    assert engines.runtime_dir.stat().st_mode & 0o077 == 0
    assert record.socket.is_socket()
    assert record.socket.parent.stat().st_mode & 0o077 == 0


async def test_an_auditor_sees_what_engines_hold(engines: Engines) -> None:
    sample = (await sample_replicas(engines.runtime_dir))[0]
    assert sample.processes >= 3
    assert 500 << 20 < sample.proportional_bytes <= sample.resident_bytes < 4 << 30
    assert sample.usage is not None


async def test_an_engine_whose_worker_is_killed_fails_its_attempts_and_leaves_no_process(engines: Engines) -> None:
    record = record_of(engines, "n1/1")
    decoding = asyncio.create_task(collect(engines.victim, make_request("doomed", tokens=500)))

    async def decodes() -> bool:
        return (await engines.victim.usage()).running_requests == 1

    await eventually(decodes)
    shared = shared_memory(record.members)
    assert shared
    (worker,) = (item for item in record.members if "Worker" in command_of(item.pid))
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(EngineError) as error:
        await decoding
    assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_DIED, True)
    assert "ended" in await engines.victim.wait_exit()
    await engines.victim.stop()
    assert not any(member.is_alive for member in record.members)
    assert not any(file.exists() for file in shared)
    assert not record.socket.parent.exists()


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
