"""``maestro down``: ends what ``maestro up`` runs, or what one that was killed has left."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro_services.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from maestro_services.cli.up_record import KnownProcess

_POLL_S = 0.1


def down(
    scenario: Annotated[Path, typer.Argument(help="The scenario file.")],
    as_json: JsonOption = False,
) -> None:
    """End the scheduler and the local nodes of a scenario in order; their engines end with them.

    What does not end in the time that `maestro up` would give it is killed.
    """
    from maestro.scenario import load
    from maestro_services.cli.up import stop_timeout_s
    from maestro_services.cli.up_record import left_running, record_file

    loaded = load(scenario)
    file = record_file(loaded.scheduler.store)
    found = left_running(file)
    killed = end_processes(found, stop_timeout_s(loaded))
    file.unlink(missing_ok=True)
    report = {"ended": [process.name for process in found], "killed": [process.name for process in killed]}
    emit(report, as_json=as_json, view=_view(scenario, found, killed))


def end_processes(found: tuple[KnownProcess, ...], timeout_s: float) -> tuple[KnownProcess, ...]:
    """Ask processes to end, wait for them, and kill those that do not, with their groups; returns the killed ones.

    A ``maestro up`` among them ends its children itself, which are asked only where there is none.
    """
    from maestro_services.cli.up_record import supervisor

    up = supervisor(found)
    for process in found if up is None else (up,):
        _signal(process, signal.SIGTERM)
    give_up_s = time.monotonic() + timeout_s
    while (left := tuple(process for process in found if process.running())) and time.monotonic() < give_up_s:
        time.sleep(_POLL_S)
    for process in left:
        with suppress(ProcessLookupError):
            if process is up:  # its group is that of whoever started it
                os.kill(process.pid, signal.SIGKILL)
            else:
                os.killpg(process.pid, signal.SIGKILL)
    return left


def _signal(process: KnownProcess, number: signal.Signals) -> None:
    running = process.running()
    if running is not None:
        running.send_signal(number)


def _view(scenario: Path, found: tuple[KnownProcess, ...], killed: tuple[KnownProcess, ...]) -> str:
    if not found:
        return f"nothing of {scenario} runs here"
    ended = ", ".join(f"{process.name} (pid {process.pid})" for process in found)
    forced = f"; killed, since they did not end: {', '.join(process.name for process in killed)}" if killed else ""
    return f"ended {ended}{forced}"
