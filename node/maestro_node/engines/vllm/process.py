"""One vLLM server as a process tree: start it, know when it ends, stop and reap all of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import psutil

from maestro.process_priority import lower_priority
from maestro.reasons import Reason
from maestro_node.config import EngineSettings
from maestro_node.engines.interface import EngineError, ReplicaLaunch
from maestro_node.engines.process_identity import ProcessIdentity, boot_id, identify
from maestro_node.engines.process_tree import members_of, stop_tree
from maestro_node.engines.replica_records import ReplicaRecord, read_records, remove_record, write_record
from maestro_node.engines.vllm.command import PROCESS_NAME_PREFIX

_LOG = logging.getLogger(__name__)
_MARKER_NAME = "MAESTRO_REPLICA"
_TAIL_BYTES = 4096


class ServerProcess:
    """A started server. Made by :func:`start_server`."""

    def __init__(self, runtime_dir: Path, record: ReplicaRecord, process: asyncio.subprocess.Process) -> None:
        self._runtime_dir = runtime_dir
        self._record = record
        self._process = process
        self._names: dict[ProcessIdentity, str] = {}

    async def wait_exit(self) -> str:
        """Return, with a sentence on why, once the tree's first process has ended."""
        status = await self._process.wait()
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"the engine process ended ({how}); {self.log_reference()}"

    def note_members(self) -> None:
        """Write down the processes that the tree has by now."""
        members = tuple(sorted(members_of(self._record), key=lambda member: member.pid))
        self._record = replace(self._record, members=members)
        self._names = {member: name for member in members if (name := _serving_name(member))}
        write_record(self._runtime_dir, self._record)

    def lost_process(self) -> str:
        """Name and pid of a noted process that has ended and without which the engine cannot serve; empty if none."""
        return next((f"{name} ({member.pid})" for member, name in self._names.items() if not member.is_alive), "")

    def log_reference(self) -> str:
        """Where the log is, with its last line that looks like an error, for people."""
        return f"see {self._record.log}{self._last_error()}"

    def log_ending(self) -> str:
        """Where the log is, with its last line, for people who want to know how far a start came."""
        lines = self._tail()
        return f"{self._record.log}, which ends with: {lines[-1]}" if lines else f"{self._record.log}, which is empty"

    async def stop(self, grace_s: float) -> None:
        """Stop the whole tree; returns once nothing of it is left. Idempotent."""
        await stop_tree(self._record, grace_s)
        await self._process.wait()
        _clean_up(self._runtime_dir, self._record)

    def _last_error(self) -> str:
        """The last line of the log that looks like an error, for people."""
        errors = [line for line in self._tail() if "Error" in line]
        return f": {errors[-1]}" if errors else ""

    def _tail(self) -> list[str]:
        """The last lines of the log that say something."""
        with Path(self._record.log).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()]


def make_record(launch: ReplicaLaunch, settings: EngineSettings, folder: Path) -> ReplicaRecord:
    """What is known of a replica before it is started; ``folder`` is its own."""
    name = f"{launch.accelerator.name}/{launch.model.name}/{launch.generation}"
    # The folder is part of the name, so that no other agent's replica bears the same marker.
    record_id = hashlib.sha256(f"{settings.runtime_dir.absolute()}|{name}".encode()).hexdigest()[:12]
    return ReplicaRecord(
        id=record_id,
        accelerator=launch.accelerator.name,
        model=launch.model.name,
        generation=launch.generation,
        uid=os.getuid(),
        boot_id=boot_id(),
        marker=f"{_MARKER_NAME}={record_id}",
        folder=str(folder),
        log=str(settings.log_dir.absolute() / f"{name.replace('/', '-')}.log"),
        kv_pool_bytes=launch.kv_pool_bytes,
        peers=tuple(device.spec.name for device in launch.devices[1:]),
    )


async def start_server(
    record: ReplicaRecord, settings: EngineSettings, arguments: tuple[str, ...], environment: Mapping[str, str]
) -> ServerProcess:
    """Start the server in a session of its own; EngineError (LOAD_FAILED) where it cannot be started.

    The record is stored before the process exists and completed right after, so that a crash of this agent at any
    moment leaves enough to find the process again.
    """
    runtime_dir = settings.runtime_dir
    write_record(runtime_dir, record)
    try:
        with _open_log(record) as log:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                env=dict(environment),
                cwd=runtime_dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        _clean_up(runtime_dir, record)
        raise EngineError(Reason.LOAD_FAILED, f"cannot start {arguments[0]}: {error}", retryable=False) from error
    started = replace(record, leader=identify(process.pid))
    write_record(runtime_dir, started)
    # In a thread, for it may have to wait; not awaited, for nothing may come between the process and its owner.
    asyncio.get_running_loop().run_in_executor(None, lower_priority, process.pid, settings.nice)
    return ServerProcess(runtime_dir, started, process)


async def reap_leftovers(runtime_dir: Path, grace_s: float) -> None:
    """Stop every replica that an earlier agent recorded in this folder and did not stop itself."""
    for record in read_records(runtime_dir):
        members = members_of(record)
        if members:
            _LOG.warning(
                "reaping %s on %s (generation %d), left by an earlier agent: pids %s",
                record.model,
                record.accelerator,
                record.generation,
                sorted(member.pid for member in members),
            )
        await stop_tree(record, grace_s)
        _clean_up(runtime_dir, record)


def _serving_name(member: ProcessIdentity) -> str:
    """The name that vLLM gave to a process that serves; empty for one that may come and go."""
    with suppress(psutil.Error):
        title = next(iter(psutil.Process(member.pid).cmdline()), "")
        return title.strip() if title.startswith(f"{PROCESS_NAME_PREFIX}::") else ""
    return ""


def _open_log(record: ReplicaRecord) -> BinaryIO:
    """Open the replica's log for appending."""
    return Path(record.log).open("ab")


def _clean_up(runtime_dir: Path, record: ReplicaRecord) -> None:
    """Remove what a stopped replica leaves on disk."""
    shutil.rmtree(record.folder, ignore_errors=True)
    remove_record(runtime_dir, record)
