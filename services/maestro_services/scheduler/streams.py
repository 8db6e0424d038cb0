"""A stream whose channel is closed under it ends with a CancelledError that nobody asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def stream_ended() -> AsyncIterator[None]:
    """Lets such a stream end quietly; a cancellation of the task itself goes on as one."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
