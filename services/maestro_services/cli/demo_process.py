"""A ``maestro up`` of one's own: started, waited for, stopped, and looked after to the last process."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from maestro.errors import InvalidInputError, MaestroError

_READY_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 90.0


class UpFailedError(MaestroError):
    """``maestro up`` ended before its nodes had registered; the message carries what it said."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What a stopped ``maestro up`` has left behind: processes (as command lines) and addresses still listened on."""

    processes: tuple[str, ...]
    addresses: tuple[str, ...]

    def __bool__(self) -> bool:
        """Tell whether anything is left."""
        return bool(self.processes or self.addresses)


class RunningUp:
    """A ``maestro up`` whose nodes have registered."""

    def __init__(self, process: Process, announcement: dict[str, Any]) -> None:
        self._process = process
        self.scheduler: str = announcement["scheduler"]
        self.nodes: dict[str, str] = announcement["nodes"]
        self.log_dir: str = announcement["log_dir"]

    async def stop(self) -> Remains:
        """Stop it and say what is left of everything that it ever started and that still ran."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
        await _terminate(self._process)
        return Remains(still_running(family), self._addresses_in_use())

    def _addresses_in_use(self) -> tuple[str, ...]:
        return tuple(address for address in (self.scheduler, *self.nodes.values()) if is_listened_on(address))


def still_running(processes: Iterable[psutil.Process]) -> tuple[str, ...]:
    """Return the command lines of those that run; one may end at any moment, also while it is asked."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return tuple(found)


def is_listened_on(address: str) -> bool:
    """Tell whether somebody accepts connections on ``host:port``; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


@asynccontextmanager
async def running_up(scenario: Path) -> AsyncIterator[RunningUp]:
    """Start ``maestro up`` and yield it once its nodes have registered; it is stopped on leaving in any case."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maestro_services.cli", "up", str(scenario), "--json"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is for the caller, who stops it in order
    )
    try:
        yield RunningUp(process, await _ready(process))
    finally:
        await _terminate(process)


async def _ready(process: Process) -> dict[str, Any]:
    """Read announcements until the one that says all nodes have registered."""
    assert process.stdout is not None  # noqa: S101 - the pipes were asked for
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            async for line in process.stdout:
                announcement: dict[str, Any] = json.loads(line)
                if announcement["event"] == "ready":
                    return announcement
            said = (await process.stderr.read()).decode(errors="replace")
            await process.wait()  # it is reaped before anybody asks whether it runs
            raise UpFailedError(f"`maestro up` ended: {last_words(said) or 'it said nothing'}")
    except TimeoutError:
        raise UpFailedError(f"the nodes have not registered within {_READY_TIMEOUT_S:g} s") from None


def last_words(said: str) -> str:
    """Return what a command that was called with ``--json`` says on standard error as its last line, for people."""
    line = next((line for line in reversed(said.splitlines()) if line.strip()), "").strip()
    try:
        parts = json.loads(line)["error"]
        if not parts["field"]:
            return str(parts["problem"])
        return str(InvalidInputError(parts["field"], parts["problem"], value=parts["value"], remedy=parts["remedy"]))
    except (ValueError, KeyError, TypeError):
        return line


async def _terminate(process: Process) -> None:
    """Ask the process to end; kill it if it does not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
