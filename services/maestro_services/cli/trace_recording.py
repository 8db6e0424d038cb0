"""Copies ended workflows from a scheduler's store to a trace, once or for as long as the scheduler runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro.status import WorkflowState
from maestro.trace import TraceFile, recorded_calls
from maestro_services.scheduler.store.archive import Archive

POLL_S = 1.0


@dataclass(slots=True)
class Recording:
    """How far a recorder has come: what this run of it has written."""

    workflows: int = 0
    calls: int = 0


def record(store: Path, out: Path, *, texts: bool, follow: bool = False) -> Iterator[Recording]:
    """Append the workflows that succeeded to ``out``, in the order of their ends; yields after each.

    Goes on where ``out`` ends. With ``follow`` it waits for further workflows, and yields now and then while there are
    none, until it is closed. ``texts``: whether heads of prompts are kept. Raises InvalidInputError for a store that
    cannot be read, or a file that cannot be written or holds another trace.
    """
    archive, done, start_s = Archive(store), Recording(), None
    with TraceFile(out) as trace:
        after = _position(archive, trace, out)
        while True:
            for ended in archive.ended(after):
                after = ended.sequence
                if ended.status.state is WorkflowState.SUCCEEDED:
                    start_s = start_s or archive.first_accepted_at_s() or ended.status.accepted_at_s
                    calls = recorded_calls(ended.spec, ended.status, trace_start_s=start_s, texts=texts)
                    trace.append(calls, ended.sequence)
                    done.workflows += 1
                    done.calls += len(calls)
                    yield done
            if not follow:
                return
            yield done
            time.sleep(POLL_S)


def _position(archive: Archive, trace: TraceFile, out: Path) -> int:
    """The sequence number after which to record; the last workflow of the trace is recorded again."""
    last = trace.last
    if last is None:
        return 0
    if archive.workflow_of(last.sequence) != last.workflow_id:
        raise InvalidInputError(
            "out", "was recorded from another store", value=str(out), remedy="give each store a file of its own"
        )
    return last.sequence - 1


def drained(recording: Iterator[Recording], show: Callable[[Recording], None]) -> Recording:
    """Follow a recording to its end, or until Ctrl-C, and return how far it came."""
    done = Recording()
    try:
        for done in recording:
            show(done)
    except KeyboardInterrupt:
        pass
    return done
