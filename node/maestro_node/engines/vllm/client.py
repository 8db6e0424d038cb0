"""Speaks HTTP to one vLLM server over its unix socket."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp

from maestro.reasons import Reason
from maestro_node.engines.interface import (
    Accepted,
    EngineError,
    EngineEvent,
    EngineUsage,
    Finished,
    GenerationRequest,
    TextChunk,
)
from maestro_node.engines.vllm.stream import completion_body, parse_chunk, parse_usage, refusal, result_reason

_BASE_URL = "http://engine"  # the host is not looked up: the connection goes to the socket
_DATA_PREFIX = b"data: "
_DONE = b"[DONE]"
_LINE_LIMIT_BYTES = 1 << 20
_CONNECT_TIMEOUT_S = 5.0
_CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S)
_SLEEP_TIMEOUT = aiohttp.ClientTimeout(total=300.0)


class VllmClient:
    """A client of one server; create it inside a running event loop and close it."""

    def __init__(self, socket: Path, served_name: str) -> None:
        self._served_name = served_name
        connector = aiohttp.UnixConnector(str(socket), limit=0)
        self._session = aiohttp.ClientSession(
            _BASE_URL, connector=connector, timeout=_CONTROL_TIMEOUT, read_bufsize=_LINE_LIMIT_BYTES
        )

    async def health(self, timeout_s: float) -> int | None:
        """The HTTP status of ``/health``: 200 is well, 503 dead. None where no answer came in ``timeout_s`` seconds."""
        try:
            async with self._session.get("/health", timeout=aiohttp.ClientTimeout(total=timeout_s)) as response:
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def usage(self) -> EngineUsage:
        """What the server's metrics say; EngineError (ENGINE_ABORTED) where it does not answer."""
        try:
            async with self._session.get("/metrics") as response:
                return parse_usage(await response.text())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(
                Reason.ENGINE_ABORTED, f"the engine does not answer /metrics: {error}", retryable=True
            ) from error

    async def sleep(self) -> None:
        """Move the weights to host memory and drop the KV cache (sleep level 1)."""
        await self._command("/sleep?level=1")

    async def wake(self) -> None:
        """Move the weights back."""
        await self._command("/wake_up")

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[EngineEvent, None]:
        """Stream a chat completion; closing the generator closes the connection, and vLLM drops the request.

        Raises EngineError, see :meth:`EngineReplica.generate`; a connection that breaks is ENGINE_ABORTED here.
        """
        body = completion_body(request, self._served_name)
        try:
            async with self._session.post("/v1/chat/completions", json=body, timeout=_STREAM_TIMEOUT) as response:
                if response.status != 200:
                    raise refusal(response.status, await response.read())
                yield Accepted()
                async for event in _read_events(response.content):
                    yield event
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(
                Reason.ENGINE_ABORTED, f"the connection to the engine broke: {error}", retryable=True
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _command(self, path: str) -> None:
        """Send an admin command; EngineError unless it is answered 200."""
        try:
            async with self._session.post(path, timeout=_SLEEP_TIMEOUT) as response:
                if response.status != 200:
                    raise refusal(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(
                Reason.ENGINE_ABORTED, f"the engine did not do {path}: {error}", retryable=True
            ) from error


async def _read_events(content: aiohttp.StreamReader) -> AsyncGenerator[EngineEvent, None]:
    """Turn server-sent events into engine events; a result needs a finish reason, usage and the final [DONE]."""
    finish_reason = ""
    prompt_tokens = completion_tokens = 0
    is_done = False
    async for line in content:
        if not line.startswith(_DATA_PREFIX):
            continue
        data = line[len(_DATA_PREFIX) :].strip()
        if data == _DONE:
            is_done = True
            break
        chunk = parse_chunk(data)
        finish_reason = chunk.finish_reason or finish_reason
        prompt_tokens = chunk.prompt_tokens or prompt_tokens
        completion_tokens = chunk.completion_tokens or completion_tokens
        if chunk.text:
            yield TextChunk(chunk.text, tokens=1)
    last_byte_s = time.monotonic()
    if not is_done:
        raise EngineError(Reason.ENGINE_ABORTED, "the engine's stream ended without [DONE]", retryable=True)
    yield Finished(result_reason(finish_reason), prompt_tokens, completion_tokens, last_byte_s)
