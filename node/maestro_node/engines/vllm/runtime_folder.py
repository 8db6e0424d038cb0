"""The private folder of one node agent: sockets, records, and a lock that keeps a second agent out.

A second agent on the same folder would take the first one's engines for leftovers and stop them.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO

from maestro.errors import InvalidInputError


class RuntimeFolder:
    """Holds the folder's lock from :meth:`acquire` to :meth:`release`, or to the end of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: BinaryIO | None = None

    def acquire(self) -> None:
        """Make the folder, private to this user, and lock it; InvalidInputError where another agent has it."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.chmod(0o700)
        lock = (self._path / "agent.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise InvalidInputError(
                "engine.runtime_dir",
                "is in use by another node agent",
                value=str(self._path),
                remedy="stop that agent, or give each agent a folder of its own",
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let another agent use the folder; idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
