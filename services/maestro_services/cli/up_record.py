"""What a ``maestro up`` keeps beside its store while it runs: which processes it has, for whoever comes after it.

A process is known by its id and by when it began, so that a number given away again is not taken for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from maestro.errors import ConflictError, InvalidInputError

_UP = "up"


@dataclass(frozen=True, slots=True)
class KnownProcess:
    """A process that was started as ``name``; ``began_s`` is when, Unix time as the system tells it."""

    name: str
    pid: int
    began_s: float

    @classmethod
    def of(cls, name: str, pid: int) -> KnownProcess:
        """Note a process that runs; raises psutil.NoSuchProcess."""
        return cls(name, pid, psutil.Process(pid).create_time())

    def running(self) -> psutil.Process | None:
        """Return the process where it still runs."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if found.create_time() == self.began_s and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


class UpRecord:
    """The record in one file. It is removed in an orderly end, and outlives any other."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._processes: dict[str, KnownProcess] = {}

    def check(self) -> None:
        """Raise ConflictError, which names them, where processes of an earlier record still run."""
        earlier = left_running(self._file)
        if earlier:
            raise ConflictError(_conflict(earlier))

    def begin(self) -> None:
        """Note this process; raises InvalidInputError where the folder of the store cannot be written."""
        self._processes = {_UP: KnownProcess.of(_UP, os.getpid())}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._write()
        except OSError as error:
            raise InvalidInputError(
                "scheduler.store",
                f"is in a folder that cannot be written: {error.strerror}",
                value=str(self._file.parent),
                remedy="name a folder that this user may write",
            ) from error

    def note(self, name: str, pid: int) -> None:
        """Note a process, in place of the one that had the name before; one that has ended already is not kept.

        A disk that takes no more is no reason to end what runs: the record is then older than it could be.
        """
        with suppress(psutil.NoSuchProcess):
            self._processes[name] = KnownProcess.of(name, pid)
        with suppress(OSError):
            self._write()

    def end(self) -> None:
        """Forget everything."""
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps([asdict(process) for process in self._processes.values()]))
        unfinished.replace(self._file)


def record_file(store: Path) -> Path:
    """Return where the record of the ``maestro up`` stands that works on a store."""
    return store.with_name(f"{store.stem}.up.json")


def left_running(file: Path) -> tuple[KnownProcess, ...]:
    """Return what still runs of a record, ``maestro up`` itself first; nothing where there is no readable record."""
    return tuple(process for process in _read(file) if process.running() is not None)


def supervisor(processes: tuple[KnownProcess, ...]) -> KnownProcess | None:
    """Return ``maestro up`` itself where it is among them."""
    return next((process for process in processes if process.name == _UP), None)


def _read(file: Path) -> Iterator[KnownProcess]:
    with suppress(OSError, ValueError, TypeError):
        for entry in json.loads(file.read_text()):
            yield KnownProcess(**entry)


def _conflict(earlier: tuple[KnownProcess, ...]) -> str:
    up = supervisor(earlier)
    others = ", ".join(f"{process.name} (pid {process.pid})" for process in earlier if process is not up)
    if up is not None:
        return (
            f"the scenario is up already: `maestro up` has pid {up.pid}{f' and runs {others}' if others else ''}; "
            "end it with `maestro down SCENARIO`"
        )
    return f"an earlier `maestro up` was killed and has left {others}; end them with `maestro down SCENARIO`"
