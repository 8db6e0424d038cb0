"""Tells watchers that the node's status has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator


class StatusFeed:
    """Changes that come while a watcher is busy are told once: it reads the whole status anyway."""

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
                await news.wait()
        finally:
            self._watchers.discard(news)
