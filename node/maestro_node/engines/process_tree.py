"""Stops a replica's whole process tree and knows when it is gone.

vLLM's API server, its EngineCore and its Workers are separate processes; ending the first alone leaves gigabytes in the
others. A tree is what is in the leader's session, what descends from its known members, the members themselves, and
what carries the replica's marker in its environment (which covers the moment before the leader was written down).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from maestro.errors import MaestroError
from maestro_node.engines.process_identity import (
    ProcessIdentity,
    boot_id,
    descendants,
    identify,
    runs_module,
    session_members,
    with_environment_entry,
)
from maestro_node.engines.replica_records import ReplicaRecord

_POLL_S = 0.05
_KILL_TIMEOUT_S = 30.0
_TRACKER_TIMEOUT_S = 5.0


class UnkillableError(MaestroError):
    """Processes of a replica survive SIGKILL (they hang in the kernel); its memory cannot be given out again."""


def members_of(record: ReplicaRecord) -> frozenset[ProcessIdentity]:
    """The living processes of a recorded replica; empty where the record is of another boot or user."""
    if record.boot_id != boot_id() or record.uid != os.getuid():
        return frozenset()
    known = {member for member in record.members if member.is_alive}
    known |= with_environment_entry(record.marker)
    if record.leader is not None:
        known |= _session_of(record.leader)
    for member in tuple(known):
        known |= descendants(member)
    return frozenset(known)


async def stop_tree(record: ReplicaRecord, grace_s: float) -> None:
    """SIGTERM to a living leader, up to ``grace_s`` seconds for all to go, then SIGKILL; returns once all are gone.

    Trackers of shared memory are killed last: as soon as nobody else is left, they remove what the others had no time
    to remove, and end. Raises UnkillableError where processes survive even SIGKILL.
    """
    if record.leader is not None and record.leader.is_alive:
        record.leader.send(signal.SIGTERM)
        if await _all_gone(record, grace_s, lambda _member: None):
            return
    if await _all_gone(record, _TRACKER_TIMEOUT_S, _kill_unless_tracker):
        return
    if not await _all_gone(record, _KILL_TIMEOUT_S, lambda member: member.send(signal.SIGKILL)):
        pids = sorted(member.pid for member in members_of(record))
        raise UnkillableError(f"processes {pids} of {record.model} on {record.accelerator} survive SIGKILL")


def _kill_unless_tracker(member: ProcessIdentity) -> None:
    """SIGKILL to all but Python's resource trackers."""
    if not runs_module(member, "multiprocessing.resource_tracker"):
        member.send(signal.SIGKILL)


async def _all_gone(record: ReplicaRecord, limit_s: float, urge: Callable[[ProcessIdentity], None]) -> bool:
    """Urge every living member again and again until none is left (True) or the time is over (False)."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + limit_s
    while members := members_of(record):
        if loop.time() >= deadline_s:
            return False
        for member in members:
            urge(member)
        await asyncio.sleep(_POLL_S)
    return True


def _session_of(leader: ProcessIdentity) -> frozenset[ProcessIdentity]:
    """Living members of the session that the leader founded.

    A session keeps its number from being used again while it has members. So where the leader's pid now belongs to
    another process, the session had emptied before, and whoever is in it now is none of ours.
    """
    present = identify(leader.pid)
    if present is not None and present != leader:
        return frozenset()
    return frozenset(member for member in session_members(leader.pid) if member.start_ticks >= leader.start_ticks)
