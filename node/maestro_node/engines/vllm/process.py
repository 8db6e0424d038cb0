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

from maestro.reasons import Reason
from maestro_node.config import EngineSettings
from maestro_node.engines.interface import EngineError, ReplicaLaunch
from maestro_node.engines.process_identity import boot_id, identify
from maestro_node.engines.process_tree import members_of, stop_tree
from maestro_node.engines.replica_records import ReplicaRecord, read_records, remove_record, write_record

_LOG = logging.getLogger(__name__)
_MARKER_NAME = "MAESTRO_REPLICA"
_TAIL_BYTES = 4096


class ServerProcess:
    """A started server. Made by :func:`start_server`."""

    def __init__(self, runtime_dir: Path, record: ReplicaRecord, process: asyncio.subprocess.Process) -> None:
        self._runtime_dir = runtime_dir
        self._record = record
        self._process = process

    async def wait_exit(self) -> str:
        """Return, with a sentence on why, once the tree's first process has ended."""
        status = await self._process.wait()
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"the engine process ended ({how}); see {self._record.log}{self._last_error()}"

    def note_members(self) -> None:
        """Write down the processes that the tree has by now."""
        members = tuple(sorted(members_of(self._record), key=lambda member: member.pid))
        self._record = replace(self._record, members=members)
        write_record(self._runtime_dir, self._record)

    async def stop(self, grace_s: float) -> None:
        """Stop the whole tree; returns once nothing of it is left. Idempotent."""
        await stop_tree(self._record, grace_s)
        await self._process.wait()
        _clean_up(self._runtime_dir, self._record)

    def _last_error(self) -> str:
        """The last line of the log that looks like an error, for people."""
        with Path(self._record.log).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        errors = [line.strip() for line in lines if "Error" in line]
        return f": {errors[-1]}" if errors else ""


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
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PGRP, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + settings.nice)
    started = replace(record, leader=identify(process.pid))
    write_record(runtime_dir, started)
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


def _open_log(record: ReplicaRecord) -> BinaryIO:
    """Open the replica's log for appending."""
    return Path(record.log).open("ab")


def _clean_up(runtime_dir: Path, record: ReplicaRecord) -> None:
    """Remove what a stopped replica leaves on disk."""
    shutil.rmtree(record.folder, ignore_errors=True)
    remove_record(runtime_dir, record)
