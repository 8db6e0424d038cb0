"""A replica's processes are all stopped, by this agent or the next, and no other process ever is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from node_builders import make_launch, make_model
from node_waiting import eventually

from maestro.errors import InvalidInputError
from maestro.reasons import Reason
from maestro_node.config import EngineKind, EngineSettings
from maestro_node.engines.interface import EngineError
from maestro_node.engines.process_identity import ProcessIdentity, identify
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import ReplicaRecord, read_records, write_record
from maestro_node.engines.vllm.process import ServerProcess, make_record, reap_leftovers, start_server
from maestro_node.engines.vllm.runtime_folder import RuntimeFolder

# Like vLLM: a server, a core under it, a worker under that, which all ignore SIGTERM if told to.
TREE = """
import os, signal, sys, time
depth = int(sys.argv[1])
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if depth and os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], str(depth - 1), sys.argv[2], sys.argv[3]])
time.sleep(300)
"""

# Holds shared memory, which outlives a process that is killed; its name is the only output.
SHARER = """
import sys, time
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=4096)
print(memory.name, flush=True)
time.sleep(300)
"""


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    runtime_dir, log_dir = tmp_path / "run", tmp_path / "log"
    runtime_dir.mkdir()
    log_dir.mkdir()
    return EngineSettings(EngineKind.VLLM, Path(sys.executable), runtime_dir, log_dir, stop_timeout_s=1.0)


def new_record(settings: EngineSettings) -> ReplicaRecord:
    folder = settings.runtime_dir.parent / "replica"
    folder.mkdir(exist_ok=True)
    return make_record(make_launch(make_model()), settings, folder)


async def start_tree(settings: EngineSettings, manner: str = "stubborn") -> tuple[ServerProcess, ReplicaRecord]:
    """Start three nested processes as a replica and wait until all of them run."""
    record = new_record(settings)
    arguments = (sys.executable, "-c", TREE, "2", manner, TREE)
    name, _, value = record.marker.partition("=")
    process = await start_server(record, settings, arguments, {**os.environ, name: value})
    (stored,) = read_records(settings.runtime_dir)
    await wait_for_members(stored, 3)
    return process, stored


async def wait_for_members(record: ReplicaRecord, count: int) -> frozenset[ProcessIdentity]:
    return await eventually(lambda: members if len(members := members_of(record)) == count else None)


@pytest.mark.parametrize("manner", ["polite", "stubborn"])
async def test_stop_ends_every_process_and_forgets_the_record(settings: EngineSettings, manner: str) -> None:
    process, record = await start_tree(settings, manner)
    members = members_of(record)
    await process.stop(grace_s=0.3)
    assert not any(member.is_alive for member in members)
    assert read_records(settings.runtime_dir) == ()
    assert not record.socket.parent.exists()
    await process.stop(grace_s=0.3)


async def test_the_rest_of_a_tree_is_found_after_its_first_process_was_killed(settings: EngineSettings) -> None:
    process, record = await start_tree(settings)
    record.leader.send(signal.SIGKILL)
    assert "killed by signal 9" in await process.wait_exit()
    orphans = await wait_for_members(record, 2)
    await process.stop(grace_s=0.3)
    assert not any(orphan.is_alive for orphan in orphans)


async def test_the_next_agent_reaps_what_was_left(settings: EngineSettings) -> None:
    _, record = await start_tree(settings)
    members = members_of(record)
    await reap_leftovers(settings.runtime_dir, grace_s=0.3)
    assert not any(member.is_alive for member in members)
    assert read_records(settings.runtime_dir) == ()


async def test_processes_are_found_even_if_the_agent_died_before_it_wrote_down_the_first(
    settings: EngineSettings,
) -> None:
    _, record = await start_tree(settings)
    members = members_of(record)
    write_record(settings.runtime_dir, replace(record, leader=None))
    await reap_leftovers(settings.runtime_dir, grace_s=0.3)
    assert not any(member.is_alive for member in members)


async def test_a_worker_that_left_the_session_is_found_once_it_was_noted(settings: EngineSettings) -> None:
    process, record = await start_tree(settings)
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(300)", start_new_session=True
    )
    noted = replace(record, members=(identify(stranger.pid),))
    assert identify(stranger.pid) in members_of(noted)
    write_record(settings.runtime_dir, noted)
    await reap_leftovers(settings.runtime_dir, grace_s=0.3)
    assert await stranger.wait() == -signal.SIGKILL
    await process.wait_exit()


@pytest.mark.parametrize("first_dies", [True, False])
async def test_shared_memory_of_killed_processes_is_freed(settings: EngineSettings, first_dies: bool) -> None:
    process = await start_server(new_record(settings), settings, (sys.executable, "-c", SHARER), {**os.environ})
    (record,) = read_records(settings.runtime_dir)
    shared = Path("/dev/shm") / (await eventually(Path(record.log).read_text)).strip()
    assert shared.exists()
    if first_dies:
        record.leader.send(signal.SIGKILL)
        await process.wait_exit()
    await process.stop(grace_s=0.0)
    assert not shared.exists()


@pytest.fixture
async def bystander():
    """A process of somebody else, leading its own session, which must survive."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(300)", start_new_session=True
    )
    yield process
    process.kill()
    await process.wait()


def dead_record(settings: EngineSettings, pid: int) -> ReplicaRecord:
    """The record of a replica whose processes are long gone and whose first pid is in use again."""
    reused = identify(pid)
    former = ProcessIdentity(pid, reused.start_ticks - 1)
    return replace(new_record(settings), leader=former, members=(former,))


async def test_a_recycled_pid_is_never_killed(settings: EngineSettings, bystander) -> None:
    record = dead_record(settings, bystander.pid)
    assert members_of(record) == frozenset()
    write_record(settings.runtime_dir, record)
    await reap_leftovers(settings.runtime_dir, grace_s=0.1)
    await asyncio.sleep(0.1)
    assert bystander.returncode is None
    assert read_records(settings.runtime_dir) == ()


@pytest.mark.parametrize("change", [{"boot_id": "an earlier boot"}, {"uid": 12345}])
async def test_a_record_of_another_boot_or_user_names_nobody(
    settings: EngineSettings, bystander, change: dict[str, object]
) -> None:
    record = replace(dead_record(settings, bystander.pid), leader=identify(bystander.pid), **change)
    assert members_of(record) == frozenset()


def test_a_signal_to_a_recycled_pid_goes_nowhere() -> None:
    me = identify(os.getpid())
    ProcessIdentity(me.pid, me.start_ticks - 1).send(signal.SIGKILL)


async def test_an_interpreter_that_cannot_be_started_leaves_no_record(settings: EngineSettings) -> None:
    record = new_record(settings)
    with pytest.raises(EngineError) as error:
        await start_server(record, settings, ("/no/such/python",), {})
    assert error.value.reason is Reason.LOAD_FAILED
    assert read_records(settings.runtime_dir) == ()


async def test_an_engine_that_ends_tells_the_last_error_of_its_log(settings: EngineSettings) -> None:
    record = new_record(settings)
    process = await start_server(record, settings, (sys.executable, "-c", "raise ValueError('no such model')"), {})
    said = await process.wait_exit()
    assert "exit status 1" in said
    assert "ValueError: no such model" in said
    await process.stop(grace_s=0.1)


async def test_engines_are_nicer_than_the_agent(settings: EngineSettings) -> None:
    process, record = await start_tree(settings)
    lowered = {min(19, os.getpriority(os.PRIO_PROCESS, 0) + settings.nice)}
    await eventually(lambda: {os.getpriority(os.PRIO_PROCESS, each.pid) for each in members_of(record)} == lowered)
    await process.stop(grace_s=0.1)


def test_a_second_agent_cannot_take_the_folder(tmp_path: Path) -> None:
    first, second = RuntimeFolder(tmp_path / "run"), RuntimeFolder(tmp_path / "run")
    first.acquire()
    with pytest.raises(InvalidInputError, match="in use by another node agent"):
        second.acquire()
    first.release()
    second.acquire()
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    second.release()
