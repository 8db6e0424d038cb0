"""One attempt while it runs and after: its output so far, its end, and those who follow it.

The attempt outlives any stream: a follower may come late, leave, and come back at an offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from maestro.errors import InvalidInputError
from maestro.v1 import node_pb2


class AttemptRun:
    """Output and end of one attempt. Offsets are UTF-8 bytes from the start of the output."""

    def __init__(self, attempt_id: str) -> None:
        self.id = attempt_id
        self.completion_tokens = 0
        self.task: asyncio.Task[None] | None = None
        self._output = bytearray()
        self._is_started = False
        self._end: node_pb2.AttemptEvent | None = None
        self._followers: set[asyncio.Event] = set()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._end is not None

    @property
    def output(self) -> str:
        """The output so far."""
        return self._output.decode()

    @property
    def has_output(self) -> bool:
        """Whether any text has come."""
        return bool(self._output)

    def mark_started(self) -> None:
        """The engine took the request."""
        self._is_started = True
        self._wake_followers()

    def append(self, text: str, tokens: int) -> None:
        """New text came. A lone surrogate, which is no text, becomes '?'."""
        self._output += text.encode(errors="replace")
        self.completion_tokens += tokens
        self._wake_followers()

    def finish(self, finished: node_pb2.AttemptFinished) -> None:
        """End with a result; nothing happens where the attempt has ended."""
        self.completion_tokens = finished.usage.completion_tokens
        self._conclude(node_pb2.AttemptEvent(attempt_id=self.id, finished=finished))

    def fail(self, failed: node_pb2.AttemptFailed) -> None:
        """End without a result; nothing happens where the attempt has ended."""
        self._conclude(node_pb2.AttemptEvent(attempt_id=self.id, failed=failed))

    def check_offset(self, offset: int) -> None:
        """Raise InvalidInputError unless output can be sent from ``offset`` on."""
        if offset > len(self._output):
            raise InvalidInputError(
                "from_offset", f"is past the output's {len(self._output)} bytes", value=offset, remedy="start from 0"
            )
        if offset < len(self._output) and self._output[offset] & 0xC0 == 0x80:
            raise InvalidInputError(
                "from_offset", "is inside a character", value=offset, remedy="use the end of a text that was received"
            )

    async def follow(self, from_offset: int = 0) -> AsyncGenerator[node_pb2.AttemptEvent, None]:
        """Yield started, the output from ``from_offset`` on and the end, as they come; what piled up is one text."""
        news = asyncio.Event()
        self._followers.add(news)
        told_start = False
        position = from_offset
        try:
            while True:
                news.clear()
                if self._is_started and not told_start:
                    told_start = True
                    yield node_pb2.AttemptEvent(attempt_id=self.id, started=node_pb2.AttemptStarted())
                if position < len(self._output):
                    text = self._output[position:].decode()
                    tokens = node_pb2.AttemptTokens(offset=position, text=text)
                    position = len(self._output)
                    yield node_pb2.AttemptEvent(attempt_id=self.id, tokens=tokens)
                if self._end is not None and position == len(self._output):
                    yield self._end
                    return
                await news.wait()
        finally:
            self._followers.discard(news)

    def _conclude(self, event: node_pb2.AttemptEvent) -> None:
        """Keep the first end."""
        if self._end is None:
            self._end = event
            self._wake_followers()

    def _wake_followers(self) -> None:
        for news in self._followers:
            news.set()
