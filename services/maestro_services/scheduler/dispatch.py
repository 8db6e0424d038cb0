"""Carries effects out on the nodes over gRPC, and turns what comes back into events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Callable, Coroutine
from typing import Any

import grpc

from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import TokenUsage
from maestro.v1 import node_pb2, node_pb2_grpc
from maestro.wire_errors import MAX_MESSAGE_BYTES
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.node_wire import execute_request, node_status
from maestro_services.scheduler.views import Views

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 2.0
UNLOAD_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 15.0

_REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION: (Reason.STALE_GENERATION, True),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Reason.MEMORY_EXCEEDED, True),
    grpc.StatusCode.NOT_FOUND: (Reason.NODE_LOST, True),
    grpc.StatusCode.INVALID_ARGUMENT: (Reason.ENGINE_REJECTED, False),
}

log = logging.getLogger(__name__)
timing_log = logging.getLogger(f"{__name__}.timing")
"""At DEBUG: the monotonic instants of each attempt, for measuring what scheduling adds to a stage."""


class _Node:
    """The connection to one instance of a node."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self.channel = grpc.aio.insecure_channel(address, options=options)
        self.stub = node_pb2_grpc.NodeServiceStub(self.channel)
        self.watching: asyncio.Task[None] | None = None
        self.status: node_pb2.GetStatusResponse | None = None


class Dispatcher:
    """One connection a node; one task an attempt that is followed."""

    def __init__(self, epoch: int, post: Callable[[on.Event], None], views: Views) -> None:
        """``post`` takes the events; ``views`` the tokens."""
        self._epoch = epoch
        self._post = post
        self._views = views
        self._nodes: dict[str, _Node] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def connect(self, node: str, address: str) -> None:
        """Takes commands for a node to an address from now on, and watches its status."""
        await self.disconnect(node)
        connection = _Node(address)
        connection.watching = asyncio.create_task(self._watch(node, connection))
        self._nodes[node] = connection

    async def disconnect(self, node: str) -> None:
        """Forgets a node's connection."""
        connection = self._nodes.pop(node, None)
        if connection is not None:
            if connection.watching is not None:
                connection.watching.cancel()
            await connection.channel.close(None)

    def last_status(self, node: str) -> node_pb2.GetStatusResponse | None:
        """What the node last reported, if anything."""
        connection = self._nodes.get(node)
        return connection.status if connection is not None else None

    async def close(self) -> None:
        """Lets go of every stream; attempts run on at their nodes."""
        for task in [*self._tasks, *self._followed.values()]:
            task.cancel()
        for node in list(self._nodes):
            await self.disconnect(node)

    def carry_out(self, effect: do.Effect) -> None:
        """Begins what the effect asks for; its result comes back as an event."""
        match effect:
            case do.ExecuteAttempt():
                self._follow(effect.attempt_id, self._execute(effect))
            case do.FollowAttempt():
                if effect.attempt_id not in self._followed:
                    self._follow(effect.attempt_id, self._reattach(effect.node, effect.key, effect.attempt_id, 0))
            case do.CancelAttempt():
                self._unfollow(effect.attempt_id)
                self._spawn(self._cancel(effect))
            case do.AcknowledgeAttempts():
                self._spawn(self._acknowledge(effect))
            case do.LoadReplica():
                self._spawn(self._load(effect))
            case do.UnloadReplica():
                self._spawn(self._unload(effect))
            case _:
                raise TypeError(f"the dispatcher does not carry out {type(effect).__name__}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _follow(self, attempt_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._followed[attempt_id] = task
        task.add_done_callback(lambda _: self._followed.pop(attempt_id, None))

    def _unfollow(self, attempt_id: str) -> None:
        task = self._followed.pop(attempt_id, None)
        if task is not None:
            task.cancel()

    async def _execute(self, effect: do.ExecuteAttempt) -> None:
        connection = self._nodes.get(effect.node)
        if connection is None:
            self._fail(effect.key, effect.attempt_id, Reason.NODE_LOST, "the node is not connected")
            return
        request = execute_request(effect, self._epoch)
        offset = _Offset()
        timing_log.debug("%s sent %.6f", effect.attempt_id, time.monotonic())
        try:
            ended = await self._consume(effect.key, connection.stub.ExecuteStage(request), offset)
        except grpc.aio.AioRpcError as error:
            if self._refused(effect.key, effect.attempt_id, error):
                return
            ended = False
        if not ended:
            await self._reattach(effect.node, effect.key, effect.attempt_id, offset.value)

    async def _reattach(self, node: str, key: StageKey, attempt_id: str, from_offset: int) -> None:
        """Follows an attempt through broken streams until it ends, or its node does not know it, or is given up."""
        offset, delay_s = _Offset(from_offset), FIRST_RETRY_S
        while (connection := self._nodes.get(node)) is not None:
            request = node_pb2.ReattachStageRequest(
                scheduler_epoch=self._epoch, attempt_id=attempt_id, from_offset=offset.value
            )
            try:
                if await self._consume(key, connection.stub.ReattachStage(request), offset):
                    return
            except grpc.aio.AioRpcError as error:
                if self._refused(key, attempt_id, error):
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(LONGEST_RETRY_S, delay_s * 2)

    async def _consume(
        self,
        key: StageKey,
        stream: AsyncIterable[node_pb2.ExecuteStageResponse | node_pb2.ReattachStageResponse],
        offset: _Offset,
    ) -> bool:
        """Turns a stream into events; True once the attempt has ended."""
        async for response in stream:
            event = response.event
            match event.WhichOneof("event"):
                case "tokens":
                    tokens = event.tokens
                    offset.value = tokens.offset + len(tokens.text.encode())
                    self._views.tokens(key.workflow, key.stage, event.attempt_id, tokens.offset, tokens.text)
                case "finished":
                    timing_log.debug("%s last_byte %.6f", event.attempt_id, event.finished.last_byte_monotonic_s)
                    self._post(_finished(key, event))
                    return True
                case "failed":
                    failed = event.failed
                    reason = _reason(failed.reason)
                    self._post(
                        on.AttemptFailed(key, event.attempt_id, reason, failed.detail, retryable=failed.retryable)
                    )
                    return True
        return False

    def _refused(self, key: StageKey, attempt_id: str, error: grpc.aio.AioRpcError) -> bool:
        """Whether the node has answered that there is no such attempt; then it has failed."""
        refusal = _REFUSALS.get(error.code())
        if refusal is None:
            return False
        reason, retryable = refusal
        self._post(on.AttemptFailed(key, attempt_id, reason, error.details() or "", retryable=retryable))
        return True

    def _fail(self, key: StageKey, attempt_id: str, reason: Reason, detail: str) -> None:
        self._post(on.AttemptFailed(key, attempt_id, reason, detail, retryable=True))

    async def _load(self, effect: do.LoadReplica) -> None:
        request = node_pb2.LoadModelRequest(
            scheduler_epoch=self._epoch, replica=_replica(effect), kv_pool_bytes=effect.kv_pool_bytes
        )
        await self._command(effect, lambda stub: stub.LoadModel(request, timeout=COMMAND_TIMEOUT_S))

    async def _unload(self, effect: do.UnloadReplica) -> None:
        request = node_pb2.UnloadModelRequest(scheduler_epoch=self._epoch, replica=_replica(effect))
        if await self._command(effect, lambda stub: stub.UnloadModel(request, timeout=UNLOAD_TIMEOUT_S)):
            self._post(on.ReplicaUnloaded(effect.accelerator, effect.model, effect.generation))

    async def _command(self, effect: do.LoadReplica | do.UnloadReplica, call: Callable[[Any], Any]) -> bool:
        """Sends a replica command; a refusal comes back as an event."""
        connection = self._nodes.get(effect.node)
        code, detail = Reason.NODE_LOST, "the node is not connected"
        if connection is not None:
            try:
                await call(connection.stub)
            except grpc.aio.AioRpcError as error:
                code, _ = _REFUSALS.get(error.code(), (Reason.LOAD_FAILED, True))
                detail = error.details() or error.code().name
            else:
                return True
        log.warning("%s refused %s: %s", effect.node, effect, detail)
        self._post(on.ReplicaCommandFailed(effect.accelerator, effect.model, effect.generation, code, detail))
        return False

    async def _cancel(self, effect: do.CancelAttempt) -> None:
        """Stops an attempt, learns how far it came, and lets the node forget it."""
        request = node_pb2.CancelStageRequest(scheduler_epoch=self._epoch, attempt_id=effect.attempt_id)
        response = await self._tell(effect.node, lambda stub: stub.CancelStage(request, timeout=COMMAND_TIMEOUT_S))
        if response is not None:
            self._post(on.AttemptStopped(effect.attempt_id, response.completion_tokens))
            await self._acknowledge(do.AcknowledgeAttempts(effect.node, (effect.attempt_id,)))

    async def _acknowledge(self, effect: do.AcknowledgeAttempts) -> None:
        request = node_pb2.AckResultRequest(scheduler_epoch=self._epoch, attempt_ids=effect.attempt_ids)
        await self._tell(effect.node, lambda stub: stub.AckResult(request, timeout=COMMAND_TIMEOUT_S))

    async def _tell(self, node: str, call: Callable[[Any], Any]) -> Any:
        """Sends a notice; one that is lost (None is returned) is repeated when the node's next status shows it."""
        connection = self._nodes.get(node)
        if connection is None:
            return None
        try:
            return await call(connection.stub)
        except grpc.aio.AioRpcError as error:
            log.info("%s did not take a notice: %s", node, error.details())
            return None

    async def _watch(self, node: str, connection: _Node) -> None:
        """Turns a node's status stream into events for as long as the connection is this one."""
        while True:
            try:
                async for response in connection.stub.WatchStatus(node_pb2.WatchStatusRequest()):
                    connection.status = response.status
                    self._post(node_status(node, response.status))
            except grpc.aio.AioRpcError as error:
                log.info("status stream of %s broke: %s", node, error.details())
            await asyncio.sleep(FIRST_RETRY_S)


class _Offset:
    """How much of an attempt's output has been seen, UTF-8 bytes."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value


def _replica(effect: do.LoadReplica | do.UnloadReplica) -> node_pb2.ReplicaRef:
    return node_pb2.ReplicaRef(accelerator=effect.accelerator, model=effect.model, generation=effect.generation)


def _reason(text: str) -> Reason:
    """The reason a node gave; one this version does not know counts as a rejection."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.ENGINE_REJECTED


def _finished(key: StageKey, event: node_pb2.AttemptEvent) -> on.AttemptFinished:
    finished = event.finished
    usage = TokenUsage(finished.usage.prompt_tokens, finished.usage.completion_tokens)
    return on.AttemptFinished(key, event.attempt_id, finished.output, finished.finish_reason, usage, finished.total_s)
