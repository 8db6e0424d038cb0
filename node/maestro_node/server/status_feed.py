"""Tells watchers that the node's status has changed: at once, but not more often than they can use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

LEAST_INTERVAL_S = 0.05
"""An attempt's start, end and acknowledgement often fall together, and its own stream tells of them anyway."""


class StatusFeed:
    """Changes that come while a watcher is busy, or right after one, are told once: it reads the whole status."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Something has changed."""
        for news in self._watchers:
            news.set()

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield at once and then after every change, or every few."""
        news = asyncio.Event()
        self._watchers.add(news)
        try:
            while True:
                news.clear()
                yield
                await asyncio.sleep(LEAST_INTERVAL_S)
                await news.wait()
        finally:
            self._watchers.discard(news)
