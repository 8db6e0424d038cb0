"""A trace that grows: whole workflows are appended, and what an interruption left half written is written again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from maestro.errors import InvalidInputError
from maestro.trace.call import TraceCall
from maestro.trace.writer import trace_line


@dataclass(frozen=True, slots=True)
class Recorded:
    """The workflow that a trace ends with, and its sequence number; it may not be there in whole."""

    workflow_id: str
    sequence: int


class TraceFile:
    """Appends workflows in the order of their sequence numbers; use it in ``with``.

    Lines carry the sequence number of their workflow's end, so that the file itself says how far it goes. Whoever goes
    on with one records again from ``last`` on, that workflow included: it is dropped when the file is opened, since
    its writer may have been interrupted.
    """

    def __init__(self, path: Path) -> None:
        """Opens a trace to go on with, or begins one.

        Raises InvalidInputError for a file that cannot be written, or that holds something else.
        """
        self._path = path
        if path.suffix == ".gz":
            raise InvalidInputError("out", "cannot be gzip", value=str(path), remedy="compress it when it is whole")
        if path.exists() and not path.is_file():
            raise InvalidInputError("out", "is no file", value=str(path), remedy="name a file")
        self.last: Recorded | None = None
        try:
            with path.open("r+b" if path.exists() else "x+b") as file:
                self._keep_whole_workflows(file)
            self._file = path.open("ab", buffering=0)  # what the disk refused is not tried again when it is closed
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, calls: Iterable[TraceCall], sequence: int) -> None:
        """Write a workflow's calls; raises InvalidInputError where the disk takes no more."""
        left = memoryview(b"".join(trace_line(call, sequence).encode() + b"\n" for call in calls))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _keep_whole_workflows(self, file: BinaryIO) -> None:
        """Cut the last workflow off, and remember which it was."""
        start = position = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # it was being written when the recorder was interrupted
            found = self._recorded(line, number)
            if found != self.last:
                self.last, start = found, position
            position += len(line)
        file.seek(start)
        file.truncate()

    def _recorded(self, line: bytes, number: int) -> Recorded:
        try:
            values = json.loads(line)
            found = Recorded(values["workflow_id"], values["sequence"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._foreign(number) from error
        if not isinstance(found.sequence, int) or (self.last is not None and found.sequence < self.last.sequence):
            raise self._foreign(number)
        return found

    def _foreign(self, number: int) -> InvalidInputError:
        place = f"{self._path}:{number}"
        return InvalidInputError("out", "holds what no recorder wrote", value=place, remedy="give a file of its own")

    def _unwritable(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(
            "out",
            f"cannot be written: {error.strerror}",
            value=str(self._path),
            remedy="give a file on a disk with room; what is there is kept, and gone on with",
        )
