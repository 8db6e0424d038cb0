"""The life of one replica: started, watched, and ended, with the core told at every step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

from maestro.errors import MaestroError
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import ReplicaKey
from maestro_node.engines.clock import Clock
from maestro_node.engines.interface import Engine, EngineReplica, ReplicaLaunch

_LOG = logging.getLogger(__name__)


class ReplicaLife:
    """Owns the engine of one replica that the core has begun to load.

    ``start_turns`` serialise starts on each of its accelerators; they are taken in order. ``on_broken`` is called with
    the attempts that a broken engine took with it and with why; ``on_change`` after every change of the core.
    """

    def __init__(
        self,
        core: NodeCore,
        engine: Engine,
        clock: Clock,
        launch: ReplicaLaunch,
        start_turns: tuple[asyncio.Lock, ...],
        on_broken: Callable[[tuple[str, ...], str], None],
        on_change: Callable[[], None],
    ) -> None:
        self.key = ReplicaKey(launch.accelerator.name, launch.model.name, launch.generation)
        self._core = core
        self._engine = engine
        self._clock = clock
        self._launch = launch
        self._start_turns = start_turns
        self._on_broken = on_broken
        self._on_change = on_change
        self._starting: asyncio.Task[EngineReplica] | None = None
        self._broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._is_failing = False
        self._course = asyncio.create_task(self._run())
        self._unloading: asyncio.Task[None] | None = None

    @property
    def replica(self) -> EngineReplica:
        """The engine; only once the core says that the replica is ready."""
        if self._starting is None:
            raise RuntimeError(f"{self.key} has not been started")
        return self._starting.result()

    async def unload(self) -> None:
        """Stop the engine wholly and free its memory in the core; it goes on even if the caller is cancelled.

        One that failed is tried again by the next call.
        """
        before = self._unloading
        if before is None or (before.done() and (before.cancelled() or before.exception() is not None)):
            self._unloading = before = asyncio.create_task(self._unload())
        await asyncio.shield(before)

    async def break_down(self, detail: str) -> None:
        """Give up an engine that did not do as told; returns once it is gone."""
        if not self._broken.done():
            self._broken.set_result(detail)
        await asyncio.wait({self._course})

    async def _run(self) -> None:
        """Start, watch, and clean up after a failure. Ends early, by cancellation, where the replica is unloaded."""
        try:
            async with AsyncExitStack() as turns:
                for turn in self._start_turns:
                    await turns.enter_async_context(turn)
                self._starting = asyncio.create_task(self._engine.start(self._launch))
                replica = await asyncio.shield(self._starting)
                await replica.wait_ready()
            self._core.mark_ready(self.key, self._clock.now())
            self._on_change()
            detail = await self._wait_for_end(replica)
        except MaestroError as error:
            detail = str(error)
        except Exception as error:
            _LOG.exception("%s: unexpected failure", self.key)
            detail = f"unexpected failure: {error!r}"
        await self._fail(detail)

    async def _wait_for_end(self, replica: EngineReplica) -> str:
        """Why the engine ended or was given up."""
        exited = asyncio.create_task(replica.wait_exit())
        try:
            done, _ = await asyncio.wait({exited, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            exited.cancel()

    async def _fail(self, detail: str) -> None:
        """End the attempts at once, free the memory only when the whole engine is gone."""
        self._is_failing = True
        _LOG.error("%s failed: %s", self.key, detail)
        self._on_broken(self._core.fail(self.key, detail), detail)
        self._on_change()
        await self._stop_engine()
        self._core.finish_failure(self.key)
        self._on_change()

    async def _unload(self) -> None:
        """Let a failure run its course, or stop a sound engine; then forget the replica."""
        if self._is_failing:
            await self._course
            self._core.begin_unload(self.key)
        else:
            self._course.cancel()
            with suppress(asyncio.CancelledError):
                await self._course
            await self._stop_engine()
            self._core.finish_unload(self.key)
        self._on_change()

    async def _stop_engine(self) -> None:
        """Stop whatever was started; a start under way is awaited first, so that no process slips through."""
        if self._starting is None:
            return
        with suppress(MaestroError):
            await self._starting
        if not self._starting.cancelled() and self._starting.exception() is None:
            await self._starting.result().stop()
