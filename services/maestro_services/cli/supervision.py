"""Keeps child processes alive: starts them, restarts one that ends, and ends them all when asked.

Every child leads a session of its own, so that a signal to one (or Ctrl-C in the terminal) reaches no other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maestro.errors import MaestroError


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A program to keep alive; what it prints is appended to ``log_file``."""

    name: str
    arguments: Sequence[str]
    log_file: Path


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a child that ended is started again.

    The pause doubles from ``first_pause_s`` to ``longest_pause_s`` and starts over once a child has lived for
    ``settled_s``. A child whose first life ends with a status in ``final_statuses`` is not started again: it would only
    fail anew.
    """

    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    settled_s: float = 60.0
    final_statuses: frozenset[int] = frozenset()

    def pause_after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row (at least one)."""
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(failures - 1, 30))


class ChildFailedError(MaestroError):
    """A child ended in a way that no restart would mend; the message names its log."""


async def supervise(
    children: Sequence[ChildSpec],
    stop: asyncio.Event,
    *,
    policy: RestartPolicy,
    stop_timeout_s: float,
    on_notice: Callable[[str], None],
    on_start: Callable[[str, int], None] = lambda _name, _pid: None,
) -> None:
    """Keep the children alive until ``stop`` is set, then end them all; returns when none is left.

    A child that does not end within ``stop_timeout_s`` of being asked to is killed with its session's process group.
    ``on_notice`` is told of restarts and kills, ``on_start`` the name and process id of all that is started. Raises
    ChildFailedError, with all others ended, for a final status.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(_Keeper(child, policy, stop_timeout_s, on_notice, on_start).keep(stop))
    except* ChildFailedError as failures:
        raise failures.exceptions[0] from None


class _Keeper:
    """Keeps one child alive."""

    def __init__(
        self,
        child: ChildSpec,
        policy: RestartPolicy,
        stop_timeout_s: float,
        on_notice: Callable[[str], None],
        on_start: Callable[[str, int], None],
    ) -> None:
        self._child = child
        self._policy = policy
        self._stop_timeout_s = stop_timeout_s
        self._on_notice = on_notice
        self._on_start = on_start
        self._starts = 0

    async def keep(self, stop: asyncio.Event) -> None:
        """Start the child, and again after each end, until ``stop`` is set."""
        failures = 0
        clock = asyncio.get_running_loop()
        while not stop.is_set():
            started_s = clock.time()
            status = await self._run(stop)
            if stop.is_set():
                return
            if failures == 0 and status in self._policy.final_statuses:
                raise ChildFailedError(
                    f"{self._child.name} ended with status {status}: {_last_line(self._child.log_file)} "
                    f"(log: {self._child.log_file})"
                )
            failures = 1 if clock.time() - started_s >= self._policy.settled_s else failures + 1
            pause_s = self._policy.pause_after(failures)
            self._on_notice(
                f"{self._child.name} ended with status {status}; it is started again in {pause_s:g} s "
                f"(log: {self._child.log_file})"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    async def _run(self, stop: asyncio.Event) -> int:
        """Run the child once, to its own end or until ``stop``; return its exit status."""
        with self._child.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._child.arguments, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._on_start(self._child.name, process.pid)
        self._starts += 1
        if self._starts > 1:
            self._on_notice(f"{self._child.name} is running again")
        ended = asyncio.ensure_future(process.wait())
        asked = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            # Shielded: a second cancellation must not leave the child behind.
            await asyncio.shield(self._end(process, ended))
        return await ended

    async def _end(self, process: Process, ended: asyncio.Future[int]) -> None:
        """Ask the child to end, and kill its group if it does not."""
        if ended.done():
            return
        with suppress(ProcessLookupError):
            process.terminate()
        done, _ = await asyncio.wait((ended,), timeout=self._stop_timeout_s)
        if not done:
            self._on_notice(f"{self._child.name} did not end within {self._stop_timeout_s:g} s and is killed")
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await ended


def _last_line(log_file: Path) -> str:
    """Return what a child said last, most likely why it ended."""
    lines = log_file.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
