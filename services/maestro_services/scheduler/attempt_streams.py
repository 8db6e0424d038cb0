"""Follows attempts on the nodes: one task each, through broken streams, until the attempt's end is known."""

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
from maestro.v1 import node_pb2
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core.outcome import ExecuteAttempt, FollowAttempt
from maestro_services.scheduler.node_connections import NodeConnections
from maestro_services.scheduler.node_wire import execute_request, reason_of, refusal_of
from maestro_services.scheduler.streams import stream_ended
from maestro_services.scheduler.views import Views

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 2.0

timing_log = logging.getLogger(f"{__name__}.timing")
"""At DEBUG: the monotonic instants of each attempt, for measuring what scheduling adds to a stage."""


class AttemptStreams:
    """The attempts that are being followed, by id."""

    def __init__(
        self,
        epoch: int,
        nodes: NodeConnections,
        post: Callable[[on.Event], None],
        views: Views,
        failed: Callable[[BaseException], None],
    ) -> None:
        """``post`` takes the ends, ``views`` the tokens; ``failed`` is told of a task that broke."""
        self._epoch = epoch
        self._nodes = nodes
        self._post = post
        self._views = views
        self._failed = failed
        self._followed: dict[str, tuple[str, asyncio.Task[None]]] = {}

    def execute(self, effect: ExecuteAttempt) -> None:
        """Sends an attempt and follows it."""
        self._follow(effect.node, effect.attempt_id, self._execute(effect))

    def follow(self, effect: FollowAttempt) -> None:
        """Follows an attempt that its node knows, unless that is being done already."""
        if effect.attempt_id not in self._followed:
            work = self._reattach(effect.node, effect.key, effect.attempt_id, _Offset())
            self._follow(effect.node, effect.attempt_id, work)

    def leave(self, attempt_id: str) -> None:
        """Follows an attempt no more."""
        _, task = self._followed.pop(attempt_id, (None, None))
        if task is not None:
            task.cancel()

    def leave_node(self, node: str) -> None:
        """Follows nothing on a node any more."""
        for attempt_id in [found for found, (where, _) in self._followed.items() if where == node]:
            self.leave(attempt_id)

    def close(self) -> None:
        """Follows nothing any more; attempts run on at their nodes."""
        for attempt_id in list(self._followed):
            self.leave(attempt_id)

    def _follow(self, node: str, attempt_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._followed[attempt_id] = (node, task)
        task.add_done_callback(lambda done: self._forget(attempt_id, done))

    def _forget(self, attempt_id: str, task: asyncio.Task[None]) -> None:
        if self._followed.get(attempt_id, (None, None))[1] is task:
            del self._followed[attempt_id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)

    async def _execute(self, effect: ExecuteAttempt) -> None:
        connection = self._nodes.get(effect.node)
        if connection is None:
            lost = on.AttemptFailed(
                effect.key, effect.attempt_id, Reason.NODE_LOST, "the node is not connected", retryable=True
            )
            self._post(lost)
            return
        offset = _Offset()
        timing_log.debug("%s sent %.6f", effect.attempt_id, time.monotonic())
        try:
            stream = connection.stub.ExecuteStage(execute_request(effect, self._epoch))
            ended = await self._consume(effect.key, stream, offset)
        except grpc.aio.AioRpcError as error:
            ended = self._refused(effect.key, effect.attempt_id, error, sent=True)
        if not ended:
            await self._reattach(effect.node, effect.key, effect.attempt_id, offset)

    async def _reattach(self, node: str, key: StageKey, attempt_id: str, offset: _Offset) -> None:
        """Tries again and again until the attempt ends, its node does not know it, or the node is forgotten."""
        delay_s = FIRST_RETRY_S
        while (connection := self._nodes.get(node)) is not None:
            request = node_pb2.ReattachStageRequest(
                scheduler_epoch=self._epoch, attempt_id=attempt_id, from_offset=offset.value
            )
            try:
                if await self._consume(key, connection.stub.ReattachStage(request), offset):
                    return
            except grpc.aio.AioRpcError as error:
                if self._refused(key, attempt_id, error, sent=False):
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
        async with stream_ended():
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
                        self._post(_failed(key, event))
                        return True
        return False

    def _refused(self, key: StageKey, attempt_id: str, error: grpc.aio.AioRpcError, *, sent: bool) -> bool:
        """Whether the node has answered that it will not have the attempt, or does not; then it has failed."""
        refusal = refusal_of(error)
        if refusal is None:
            return False
        self._post(
            on.AttemptFailed(
                key,
                attempt_id,
                refusal.reason,
                error.details() or "",
                retryable=refusal.retryable,
                refused=sent and refusal.retryable,
            )
        )
        return True


class _Offset:
    """How much of an attempt's output has been seen, UTF-8 bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


def _finished(key: StageKey, event: node_pb2.AttemptEvent) -> on.AttemptFinished:
    finished = event.finished
    usage = TokenUsage(finished.usage.prompt_tokens, finished.usage.completion_tokens)
    return on.AttemptFinished(
        key,
        event.attempt_id,
        finished.output,
        finished.finish_reason,
        usage,
        finished.total_s,
        finished.first_token_s or None,
    )


def _failed(key: StageKey, event: node_pb2.AttemptEvent) -> on.AttemptFailed:
    failed = event.failed
    return on.AttemptFailed(key, event.attempt_id, reason_of(failed.reason), failed.detail, retryable=failed.retryable)
