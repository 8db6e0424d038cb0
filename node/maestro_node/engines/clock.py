"""The clock that an engine is driven by: the wall clock, or a virtual one."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time in seconds, and a way to wait for it."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Return once ``duration_s`` seconds of this clock have passed."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds as ``time.monotonic`` counts them."""
        return time.monotonic()

    async def sleep(self, duration_s: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(duration_s)
