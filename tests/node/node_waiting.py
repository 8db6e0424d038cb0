"""Waits in tests for what cannot be awaited: processes and counters of somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

Value = TypeVar("Value")


async def eventually(look: Callable[[], Value | Awaitable[Value]], timeout_s: float = 240) -> Value:
    """The first true value of ``look``; TimeoutError where there is none in time."""
    async with asyncio.timeout(timeout_s):
        while True:
            seen = look()
            value = await seen if isawaitable(seen) else seen
            if value:
                return value
            await asyncio.sleep(0.02)
