"""The node agent: carries out what the core allows, on real engines. Lives in one event loop; nothing is locked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import aclosing

from maestro.errors import UnsupportedError
from maestro.fleet import ModelSpec, NodeSpec
from maestro.reasons import Reason
from maestro.v1 import node_pb2, workflow_pb2
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.refusals import UnknownAttemptError
from maestro_node.core.replica import Replica, ReplicaKey
from maestro_node.engines.clock import Clock
from maestro_node.engines.interface import (
    Accepted,
    Device,
    Engine,
    EngineError,
    Finished,
    GenerationRequest,
    ReplicaLaunch,
    TextChunk,
)
from maestro_node.server.attempt_run import AttemptRun
from maestro_node.server.replica_life import ReplicaLife
from maestro_node.server.status_feed import StatusFeed

_LOG = logging.getLogger(__name__)


class NodeAgent:
    """Replicas and attempts of one node. Create it inside a running event loop and close it.

    Every command first has its scheduler epoch checked; see :class:`NodeCore` for what it may refuse.
    """

    def __init__(self, node: NodeSpec, models: Mapping[str, ModelSpec], engine: Engine, clock: Clock) -> None:
        self.core = NodeCore(node, models)
        self.feed = StatusFeed()
        self._models = dict(models)
        self._engine = engine
        self._clock = clock
        self._devices = {item.name: Device(item, index) for index, item in enumerate(node.accelerators)}
        self._start_turns = {item.name: asyncio.Lock() for item in node.accelerators}
        self._lives: dict[ReplicaKey, ReplicaLife] = {}
        self._runs: dict[str, AttemptRun] = {}
        self._steps: set[asyncio.Task[None]] = set()

    @property
    def runs(self) -> Mapping[str, AttemptRun]:
        """Attempts that run or wait for acknowledgement, by id."""
        return self._runs

    def obey(self, epoch: int) -> None:
        """Take note of a scheduler's epoch; StaleCommandError where a newer one was obeyed before."""
        version = self.core.version
        self.core.obey(epoch)
        if self.core.version != version:
            self.feed.notify()

    def load(self, epoch: int, key: ReplicaKey, kv_pool_bytes: int, peers: tuple[str, ...] = ()) -> Replica:
        """Begin to load a replica (once per generation) and return it as it is now; it takes its ``peers``, too."""
        self.obey(epoch)
        if self.core.begin_load(key, kv_pool_bytes, self._clock.now(), peers):
            self._lives = {other: life for other, life in self._lives.items() if other[:2] != key[:2]}
            devices = tuple(self._devices[name] for name in (key.accelerator, *peers))
            launch = ReplicaLaunch(devices, self._models[key.model], key.generation, kv_pool_bytes)
            turns = tuple(self._start_turns[device.spec.name] for device in devices)
            self._lives[key] = ReplicaLife(
                self.core, self._engine, self._clock, launch, turns, self._attempts_lost, self.feed.notify
            )
            self.feed.notify()
        return self.core.replica(key)

    async def unload(self, epoch: int, key: ReplicaKey) -> None:
        """Stop an idle replica; returns once its memory is free."""
        self.obey(epoch)
        must_stop = self.core.begin_unload(key)
        self.feed.notify()
        if must_stop:
            await self._lives[key].unload()
        self._lives.pop(key, None)

    async def sleep(self, epoch: int, key: ReplicaKey) -> None:
        """Move an idle replica's weights to host memory; returns once its device memory is free."""
        self._require_sleep()
        self.obey(epoch)
        if self.core.begin_sleep(key):
            self.feed.notify()
            await self._to_the_end(self._fall_asleep(key))

    async def wake(self, epoch: int, key: ReplicaKey) -> None:
        """Move them back; returns once it serves."""
        self._require_sleep()
        self.obey(epoch)
        if self.core.begin_wake(key, self._clock.now()):
            self.feed.notify()
            await self._to_the_end(self._wake_up(key))

    def set_kv_budget(self, epoch: int, key: ReplicaKey, kv_budget_bytes: int) -> None:
        """Bound the reservations that are admitted from now on."""
        self.obey(epoch)
        self.core.set_kv_budget(key, kv_budget_bytes)
        self.feed.notify()

    def execute(self, epoch: int, attempt: Attempt, request: GenerationRequest) -> AttemptRun:
        """Start an attempt (once per id) and return its run."""
        self.obey(epoch)
        if self.core.admit(attempt):
            run = AttemptRun(attempt.id)
            self._runs[attempt.id] = run
            run.task = asyncio.create_task(self._generate(run, attempt.replica, request))
            self.feed.notify()
        return self._runs[attempt.id]

    def reattach(self, epoch: int, attempt_id: str) -> AttemptRun:
        """The run of a known attempt; UnknownAttemptError otherwise."""
        self.obey(epoch)
        return self._runs[self.core.attempts.find(attempt_id).id]

    def acknowledge(self, epoch: int, attempt_ids: Iterable[str]) -> None:
        """Forget ended attempts."""
        self.obey(epoch)
        for attempt_id in self.core.acknowledge(attempt_ids):
            del self._runs[attempt_id]
        self.feed.notify()

    async def cancel(self, epoch: int, attempt_id: str) -> int:
        """Abort a running attempt in its engine; nothing happens where it has ended. Returns its output in tokens."""
        self.obey(epoch)
        if self.core.attempts.was_forgotten(attempt_id):
            return 0
        run = self._runs.get(attempt_id)
        if run is None:
            raise UnknownAttemptError(attempt_id)
        if run.task is not None and not run.has_ended:
            run.task.cancel()
            await asyncio.wait({run.task})
            self._fail(run, Reason.CANCELLED_BY_CLIENT, "cancelled by the scheduler's command", retryable=False)
        return run.completion_tokens

    async def close(self) -> None:
        """Abort every attempt and stop every engine; returns once all processes are gone."""
        for run in self._runs.values():
            if run.task is not None:
                run.task.cancel()
        await asyncio.gather(*(run.task for run in self._runs.values() if run.task), return_exceptions=True)
        for run in tuple(self._runs.values()):
            self._fail(run, Reason.NODE_LOST, "the node agent was stopped", retryable=True)
        stops = [self._stop_for_good(life) for life in self._lives.values()]
        for outcome in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(outcome, BaseException):
                _LOG.error("an engine could not be stopped", exc_info=outcome)

    async def _stop_for_good(self, life: ReplicaLife) -> None:
        """Unload a replica whatever state it is in."""
        if self.core.begin_unload(life.key):
            await life.unload()

    async def _generate(self, run: AttemptRun, key: ReplicaKey, request: GenerationRequest) -> None:
        """Run the request on its engine and keep what comes; where it is cancelled, the canceller ends the attempt."""
        began_s = self._clock.now()
        first_token_s = 0.0
        try:
            async with aclosing(self._lives[key].replica.generate(request)) as events:
                async for event in events:
                    match event:
                        case Accepted():
                            run.mark_started()
                        case TextChunk(text, tokens):
                            first_token_s = first_token_s or self._clock.now() - began_s
                            run.append(text, tokens)
                        case Finished():
                            self._finish(run, event, began_s, first_token_s)
        except EngineError as error:
            self._fail(run, error.reason, str(error), retryable=error.retryable)
        except Exception as error:
            _LOG.exception("attempt %s: unexpected failure", run.id)
            self._fail(run, Reason.ENGINE_ABORTED, f"unexpected failure: {error!r}", retryable=True)

    def _finish(self, run: AttemptRun, finished: Finished, began_s: float, first_token_s: float) -> None:
        """Return the reservation, then let followers see the result: who sees it finds the place free."""
        self._end(run.id, AttemptState.FINISHED)
        total_s = finished.last_byte_s - began_s
        run.finish(
            node_pb2.AttemptFinished(
                output=run.output,
                finish_reason=finished.finish_reason,
                usage=workflow_pb2.Usage(
                    prompt_tokens=finished.prompt_tokens, completion_tokens=finished.completion_tokens
                ),
                first_token_s=first_token_s or total_s,
                total_s=total_s,
                last_byte_monotonic_s=finished.last_byte_s,
            )
        )

    def _fail(self, run: AttemptRun, reason: Reason, detail: str, *, retryable: bool) -> None:
        """End an attempt without a result, unless it has ended."""
        if not run.has_ended:
            self._end(run.id, AttemptState.FAILED)
            run.fail(node_pb2.AttemptFailed(reason=reason, detail=detail, retryable=retryable))

    def _end(self, attempt_id: str, state: AttemptState) -> None:
        """End an attempt in the core, and drop runs that the core forgets for it."""
        for dropped in self.core.end_attempt(attempt_id, state):
            _LOG.warning("result of attempt %s was dropped: too many wait for acknowledgement", dropped)
            self._runs.pop(dropped, None)
        self.feed.notify()

    def _attempts_lost(self, attempt_ids: tuple[str, ...], detail: str) -> None:
        """A broken engine took these attempts with it; the core has ended them."""
        for attempt_id in attempt_ids:
            run = self._runs[attempt_id]
            run.fail(node_pb2.AttemptFailed(reason=Reason.ENGINE_DIED, detail=detail, retryable=True))
            if run.task is not None:
                run.task.cancel()
        kept = self.core.attempts
        self._runs = {name: run for name, run in self._runs.items() if not kept.was_forgotten(name)}

    async def _to_the_end(self, steps: Coroutine[None, None, None]) -> None:
        """Await steps that go on even if the caller is cancelled: half done they would leave a replica in between."""
        task = asyncio.create_task(steps)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        await asyncio.shield(task)

    async def _fall_asleep(self, key: ReplicaKey) -> None:
        """Put the engine to sleep, then free its device memory."""
        await self._or_break_down(key, self._lives[key].replica.sleep())
        self.core.finish_sleep(key)
        self.feed.notify()

    async def _wake_up(self, key: ReplicaKey) -> None:
        """Wake the engine, then let it serve."""
        await self._or_break_down(key, self._lives[key].replica.wake())
        self.core.mark_ready(key, self._clock.now())
        self.feed.notify()

    async def _or_break_down(self, key: ReplicaKey, command: Coroutine[None, None, None]) -> None:
        """Await an engine's command; where it fails, nobody knows the engine's state, and it is given up."""
        try:
            await command
        except EngineError as error:
            await self._lives[key].break_down(str(error))
            raise

    def _require_sleep(self) -> None:
        """Raise UnsupportedError where the engine cannot sleep."""
        if not self._engine.capabilities.sleep:
            raise UnsupportedError(
                "this node's engine cannot sleep (capability sleep is false); unload the model instead"
            )
