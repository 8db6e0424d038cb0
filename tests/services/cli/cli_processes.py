"""Waits in tests for processes of ``maestro``, which start slowly where the machine is busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

PATIENCE_S = 240.0
"""How long a test waits for what comes in seconds: whether it comes, not when, is claimed."""


def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.05)


def still_there(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """List those that have not ended. One may be taken away by its parent at any moment, while it is looked at, too."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
