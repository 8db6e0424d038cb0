"""Private folders: one of the node agent, with its records and its lock, and one of each replica, with its sockets.

A second agent on the same folder would take the first one's engines for leftovers and stop them; the lock keeps it out.
"""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import BinaryIO

from maestro.errors import InvalidInputError

_MAX_SOCKET_PATH_BYTES = 107  # Linux: 108, the closing zero included
_LONGEST_SOCKET_NAME_BYTES = 37  # vLLM names its inner sockets by UUIDs; and a slash
_MAX_FOLDER_BYTES = _MAX_SOCKET_PATH_BYTES - _LONGEST_SOCKET_NAME_BYTES


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


def make_replica_folder() -> Path:
    """Make a new folder for one replica's sockets, private to this user.

    It lies in the system's folder for temporary files, as a unix socket's path has to be short wherever the runtime
    folder is. Raises InvalidInputError where even that is too long.
    """
    folder = Path(tempfile.mkdtemp(prefix="maestro-"))
    if len(bytes(folder)) > _MAX_FOLDER_BYTES:
        folder.rmdir()
        raise InvalidInputError(
            "TMPDIR",
            f"makes socket paths longer than {_MAX_SOCKET_PATH_BYTES} bytes",
            value=str(folder.parent),
            remedy="set it to a short path, such as /tmp",
        )
    return folder
