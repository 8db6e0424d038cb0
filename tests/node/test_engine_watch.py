"""An engine that cannot serve any more is given up whole, whatever is left of it; an engine that can, is not."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from node_builders import POOL_BYTES, make_model, make_node, make_request
from node_waiting import eventually

from maestro.snapshot import ReplicaPhase
from maestro.v1 import node_pb2
from maestro_node.config import EngineKind, EngineSettings, ModelSource
from maestro_node.core.attempts import Attempt
from maestro_node.core.replica import ReplicaKey
from maestro_node.engines.clock import MonotonicClock
from maestro_node.engines.process_identity import ProcessIdentity
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import ReplicaRecord, read_records
from maestro_node.engines.vllm import VllmEngine, watch
from maestro_node.server.agent import NodeAgent
from maestro_node.server.attempt_run import AttemptRun

KEY = ReplicaKey("n1/0", "small", 1)
STAND_IN = Path(__file__).parent / "engine_stand_in.py"


@dataclass
class Served:
    """An agent whose one replica runs on the stand-in, with an attempt that decodes."""

    agent: NodeAgent
    record: ReplicaRecord
    run: AttemptRun

    @property
    def phase(self) -> ReplicaPhase:
        return self.agent.core.replica(KEY).phase

    @property
    def folder(self) -> Path:
        return self.record.socket.parent

    def member(self, name: str) -> ProcessIdentity:
        """The one recorded process with such a title."""
        (found,) = (item for item in self.record.members if name in psutil.Process(item.pid).cmdline()[0])
        return found

    async def end(self) -> node_pb2.AttemptFailed:
        """How the attempt failed."""
        return [event async for event in self.run.follow()][-1].failed


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    python.chmod(0o700)
    return EngineSettings(EngineKind.VLLM, python, tmp_path / "run", tmp_path / "log", stop_timeout_s=0.2)


@pytest.fixture
async def served(
    settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Served]:
    monkeypatch.setattr(watch, "_LINGER_S", 0.5)  # the stand-in's server never ends by itself
    (tmp_path / "config.json").write_text("{}")
    settings = getattr(request, "param", lambda unchanged: unchanged)(settings)
    node = make_node()
    engine = VllmEngine(settings, node, {"small": ModelSource(tmp_path, "small")})
    await engine.prepare()
    agent = NodeAgent(node, {"small": make_model()}, engine, MonotonicClock())
    try:
        agent.load(1, KEY, POOL_BYTES)
        await eventually(lambda: agent.core.replica(KEY).phase is ReplicaPhase.READY)
        run = agent.execute(1, Attempt("a", KEY, 1_000, "a"), make_request("a"))
        await eventually(lambda: run.has_output)
        (record,) = read_records(settings.runtime_dir)
        yield Served(agent, record, run)
    finally:
        await agent.close()
        await engine.close()
    assert members_of(record) == frozenset()


async def is_given_up(served: Served) -> None:
    """The replica fails, and by the time its memory is free none of its processes is left."""
    await eventually(lambda: served.phase is ReplicaPhase.FAILED)
    assert served.agent.core.ledgers["n1/0"].charged_bytes == 0
    assert members_of(served.record) == frozenset()
    assert not served.folder.exists()


async def test_a_killed_worker_is_the_engines_death_though_its_server_lingers_and_says_it_is_well(
    served: Served,
) -> None:
    worker = served.member("VLLM::Worker")
    worker.send(signal.SIGKILL)
    failed = await served.end()
    assert (failed.reason, failed.retryable) == ("engine_died", True)
    assert f"process VLLM::Worker ({worker.pid}) of the engine has ended" in failed.detail
    await is_given_up(served)


async def test_a_server_that_says_its_engine_is_dead_is_given_up(served: Served) -> None:
    (served.folder / "dead").touch()
    failed = await served.end()
    assert (failed.reason, failed.retryable) == ("engine_died", True)
    assert "/health answers 503" in failed.detail
    await is_given_up(served)


async def test_the_end_of_the_first_process_is_told_with_its_status(served: Served) -> None:
    served.record.leader.send(signal.SIGKILL)
    failed = await served.end()
    assert (failed.reason, failed.retryable) == ("engine_died", True)
    assert "killed by signal 9" in failed.detail
    await is_given_up(served)


def impatient(settings: EngineSettings) -> EngineSettings:
    return replace(settings, hang_timeout_s=5.0)


@pytest.mark.parametrize("served", [impatient], indirect=True)
async def test_an_engine_that_hangs_is_killed_and_its_attempts_may_be_tried_again(served: Served) -> None:
    served.record.leader.send(signal.SIGSTOP)
    failed = await served.end()
    assert (failed.reason, failed.retryable) == ("engine_died", True)
    assert "has not answered /health for 5 s" in failed.detail
    await is_given_up(served)


async def test_a_stream_that_breaks_off_with_nobody_harmed_leaves_the_replica_ready(served: Served) -> None:
    (served.folder / "abort").touch()
    failed = await served.end()
    assert (failed.reason, failed.retryable) == ("engine_aborted", True)
    assert served.phase is ReplicaPhase.READY


async def test_a_process_that_does_not_serve_may_end(served: Served) -> None:
    served.member("compiler").send(signal.SIGKILL)
    (served.folder / "abort").touch()
    assert (await served.end()).reason == "engine_aborted"
    assert served.phase is ReplicaPhase.READY
