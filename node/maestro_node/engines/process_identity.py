"""Processes that cannot be mistaken for others: a pid alone may be recycled, a pid with its start time may not.

Linux only: reads ``/proc`` and signals through pidfds.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_GONE_STATES = frozenset({"Z", "X", "x"})


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process in its one life: ``start_ticks`` is its start in clock ticks since boot."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not: it holds no memory)."""
        stat = _read_stat(self.pid)
        return stat is not None and stat.start_ticks == self.start_ticks and stat.state not in _GONE_STATES

    def send(self, signal_number: signal.Signals) -> None:
        """Signal this very process; nothing happens where it is gone, even if its pid is in use again."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_alive:
                    signal.pidfd_send_signal(descriptor, signal_number)
            finally:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Stat:
    """What ``/proc/PID/stat`` says."""

    state: str
    session: int
    start_ticks: int


def boot_id() -> str:
    """Identifies the machine's present boot; start ticks of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, None where there is no such process."""
    stat = _read_stat(pid)
    return None if stat is None or stat.state in _GONE_STATES else ProcessIdentity(pid, stat.start_ticks)


def session_members(session: int) -> frozenset[ProcessIdentity]:
    """The processes of a session that are alive."""
    members = set()
    for pid in psutil.pids():
        stat = _read_stat(pid)
        if stat is not None and stat.session == session and stat.state not in _GONE_STATES:
            members.add(ProcessIdentity(pid, stat.start_ticks))
    return frozenset(members)


def descendants(ancestor: ProcessIdentity) -> frozenset[ProcessIdentity]:
    """Children of a living process, their children, and so on, alive ones only."""
    if not ancestor.is_alive:
        return frozenset()
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(ancestor.pid).children(recursive=True)
        return frozenset(found for child in children if (found := identify(child.pid)) is not None)
    return frozenset()


def with_environment_entry(entry: str) -> frozenset[ProcessIdentity]:
    """Processes of this user that were started with ``NAME=value`` in their environment."""
    wanted = entry.encode()
    found = set()
    for pid in psutil.pids():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                identity = identify(pid)
                if identity is not None:
                    found.add(identity)
    return frozenset(found)


def runs_module(process: ProcessIdentity, module: str) -> bool:
    """Whether the process was started as Python with code that names the module."""
    with suppress(OSError):
        return module.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return False


def _read_stat(pid: int) -> _Stat | None:
    """Parse ``/proc/PID/stat``; the command's name may hold anything, so fields count from its last ')'."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(state=fields[0], session=int(fields[3]), start_ticks=int(fields[19]))
