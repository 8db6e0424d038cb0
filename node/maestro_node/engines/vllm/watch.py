"""Notices the end of a server that was ready, also where its first process goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from maestro_node.engines.vllm.client import VllmClient
from maestro_node.engines.vllm.process import ServerProcess

_LOOK_INTERVAL_S = 0.5
_QUESTION_INTERVAL_S = 2.0
_LONGEST_QUESTION_S = 10.0
_LEAST_UNANSWERED = 3  # one answer may be lost to a pause of this agent, which is no silence of the engine
_LINGER_S = 5.0  # a dying server takes a few seconds from its last error message to its end
_SECOND_LOOK_S = 2.0  # a stream may break a moment before anything else shows why
_SILENT_LOOK_S = 5.0  # a server that does not answer either may be dying: its sockets close before it is gone


class EngineWatch:
    """Watches one server from its creation, inside a running event loop, to :meth:`close` or the server's end.

    Signs of an end are: the first process has ended (``exited`` is done), another process of the engine has ended,
    ``/health`` says that the engine is dead, or it has not answered for ``hang_timeout_s`` seconds.
    """

    def __init__(
        self, process: ServerProcess, client: VllmClient, exited: asyncio.Task[str], hang_timeout_s: float
    ) -> None:
        self._process = process
        self._client = client
        self._exited = exited
        self._hang_timeout_s = hang_timeout_s
        self._sign: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lookers = (asyncio.create_task(self._watch_processes()), asyncio.create_task(self._watch_health()))
        self._end = asyncio.create_task(self._wait_for_end())

    async def wait_end(self) -> str:
        """Return, with a sentence on why, after a sign of the end; the first process gets a few seconds to follow."""
        return await asyncio.shield(self._end)

    async def is_ending(self) -> bool:
        """Whether a stream that broke was a sign of the end; looks for a moment before it says no."""
        self._look_at_processes()
        look_s = _SECOND_LOOK_S if self._sign.done() or await self._ask_for_health() else _SILENT_LOOK_S
        done, _ = await asyncio.wait({self._exited, self._sign}, timeout=look_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)

    def close(self) -> None:
        """Ask the server nothing more; :meth:`wait_end` returns once its first process has ended."""
        for looker in self._lookers:
            looker.cancel()

    async def _wait_for_end(self) -> str:
        """Prefer what the end of the first process tells; without it, tell the sign."""
        await asyncio.wait({self._exited, self._sign}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({self._exited}, timeout=_LINGER_S)
        if self._exited.done():
            return self._exited.result()
        return f"{self._sign.result()}, while its first process lingers; {self._process.log_reference()}"

    async def _watch_processes(self) -> None:
        """Look at the processes until one of them has ended."""
        while not self._sign.done():
            self._look_at_processes()
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _watch_health(self) -> None:
        """Ask again and again until the engine is dead, or silent for too long."""
        loop = asyncio.get_running_loop()
        asked_s, unanswered = loop.time(), 0
        while not self._sign.done():
            if not unanswered:
                asked_s = loop.time()
            unanswered = 0 if await self._ask_for_health() else unanswered + 1
            if unanswered >= _LEAST_UNANSWERED and loop.time() - asked_s >= self._hang_timeout_s:
                self._note(f"the engine has not answered /health for {self._hang_timeout_s:g} s")
            await asyncio.sleep(min(_QUESTION_INTERVAL_S, self._hang_timeout_s / _LEAST_UNANSWERED))

    def _look_at_processes(self) -> None:
        """Take the end of any of the engine's processes for its end."""
        lost = self._process.lost_process()
        if lost:
            self._note(f"process {lost} of the engine has ended")

    async def _ask_for_health(self) -> bool:
        """Whether the server answers at all."""
        status = await self._client.health(min(_LONGEST_QUESTION_S, self._hang_timeout_s / _LEAST_UNANSWERED))
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._note("the engine says that it is dead (/health answers 503)")
        return status is not None

    def _note(self, sign: str) -> None:
        """Keep the first sign."""
        if not self._sign.done():
            self._sign.set_result(sign)
