"""Carries effects out on the nodes over gRPC, and turns what comes back into events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc

from maestro.v1 import node_pb2
from maestro_services.scheduler.attempt_streams import FIRST_RETRY_S, LONGEST_RETRY_S, AttemptStreams
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.node_connections import NodeConnections
from maestro_services.scheduler.node_wire import refusal_of
from maestro_services.scheduler.streams import stream_ended
from maestro_services.scheduler.views import Views

UNLOAD_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 15.0

ReplicaCommand = do.LoadReplica | do.UnloadReplica | do.SleepReplica | do.WakeReplica

log = logging.getLogger(__name__)


class Dispatcher:
    """Gives the nodes their commands."""

    def __init__(
        self,
        epoch: int,
        nodes: NodeConnections,
        post: Callable[[on.Event], None],
        views: Views,
        failed: Callable[[BaseException], None],
    ) -> None:
        """``post`` takes the events, ``views`` the tokens; ``failed`` is told of a task that broke."""
        self._epoch = epoch
        self._nodes = nodes
        self._post = post
        self._failed = failed
        self._attempts = AttemptStreams(epoch, nodes, post, views, failed)
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Lets go of everything under way."""
        for task in self._tasks:
            task.cancel()
        self._attempts.close()

    def carry_out(self, effect: do.Effect) -> None:
        """Begins what the effect asks for; its result comes back as an event."""
        match effect:
            case do.ExecuteAttempt():
                self._attempts.execute(effect)
            case do.FollowAttempt():
                self._attempts.follow(effect)
            case do.CancelAttempt():
                self._attempts.leave(effect.attempt_id)
                self._spawn(self._cancel(effect))
            case do.AcknowledgeAttempts():
                self._spawn(self._acknowledge(effect))
            case do.LoadReplica():
                self._spawn(self._load(effect))
            case do.UnloadReplica():
                self._spawn(self._unload(effect))
            case do.SleepReplica():
                self._spawn(self._put_to_sleep(effect))
            case do.WakeReplica():
                self._spawn(self._wake(effect))
            case do.ForgetNode():
                self._attempts.leave_node(effect.node)
                self._spawn(self._nodes.disconnect(effect.node))
            case _:
                raise TypeError(f"the dispatcher does not carry out {type(effect).__name__}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)

    async def _load(self, effect: do.LoadReplica) -> None:
        request = node_pb2.LoadModelRequest(
            scheduler_epoch=self._epoch,
            replica=_replica(effect),
            kv_pool_bytes=effect.kv_pool_bytes,
            peers=effect.peers,
        )
        await self._command(effect, lambda stub: stub.LoadModel(request, timeout=COMMAND_TIMEOUT_S))

    async def _unload(self, effect: do.UnloadReplica) -> None:
        request = node_pb2.UnloadModelRequest(scheduler_epoch=self._epoch, replica=_replica(effect))
        if await self._command(effect, lambda stub: stub.UnloadModel(request, timeout=UNLOAD_TIMEOUT_S)):
            self._post(on.ReplicaUnloaded(effect.accelerator, effect.model, effect.generation))

    async def _put_to_sleep(self, effect: do.SleepReplica) -> None:
        request = node_pb2.SleepModelRequest(scheduler_epoch=self._epoch, replica=_replica(effect))
        if await self._command(effect, lambda stub: stub.SleepModel(request, timeout=UNLOAD_TIMEOUT_S)):
            self._post(on.ReplicaAsleep(effect.accelerator, effect.model, effect.generation))

    async def _wake(self, effect: do.WakeReplica) -> None:
        """That it serves is told by the node's status."""
        request = node_pb2.WakeModelRequest(scheduler_epoch=self._epoch, replica=_replica(effect))
        await self._command(effect, lambda stub: stub.WakeModel(request, timeout=UNLOAD_TIMEOUT_S))

    async def _command(self, effect: ReplicaCommand, call: Callable[[Any], Awaitable[Any]]) -> bool:
        """Sends a replica command until this instance of the node has answered; a refusal comes back as an event.

        Commands are idempotent by generation, so one whose answer was lost is simply sent again.
        """
        connection, delay_s = self._nodes.get(effect.node), FIRST_RETRY_S
        while connection is not None and self._nodes.get(effect.node) is connection:
            try:
                async with stream_ended():
                    await call(connection.stub)
                    return True
            except grpc.aio.AioRpcError as error:
                if refusal_of(error) is not None:
                    log.warning("%s refused %s: %s", effect.node, effect, error.details())
                    self._post(on.ReplicaCommandRefused(effect.accelerator, effect.model, effect.generation))
                    return False
                log.info("%s has not answered %s: %s", effect.node, effect, error.details())
            await asyncio.sleep(delay_s)
            delay_s = min(LONGEST_RETRY_S, delay_s * 2)
        return False

    async def _cancel(self, effect: do.CancelAttempt) -> None:
        """Stops an attempt, learns how far it came, and lets the node forget it."""
        request = node_pb2.CancelStageRequest(scheduler_epoch=self._epoch, attempt_id=effect.attempt_id)
        response = await self._tell(effect.node, lambda stub: _stop(stub, request))
        if response is not None:
            self._post(on.AttemptStopped(effect.attempt_id, response.completion_tokens))
            await self._acknowledge(do.AcknowledgeAttempts(effect.node, (effect.attempt_id,)))

    async def _acknowledge(self, effect: do.AcknowledgeAttempts) -> None:
        request = node_pb2.AckResultRequest(scheduler_epoch=self._epoch, attempt_ids=effect.attempt_ids)
        await self._tell(effect.node, lambda stub: stub.AckResult(request, timeout=COMMAND_TIMEOUT_S))

    async def _tell(self, node: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """Sends a notice; one that is lost (None is returned) is repeated when the node's next status shows it."""
        connection = self._nodes.get(node)
        if connection is None:
            return None
        try:
            async with stream_ended():
                return await call(connection.stub)
        except grpc.aio.AioRpcError as error:
            log.info("%s did not take a notice: %s", node, error.details())
        return None


async def _stop(stub: Any, request: node_pb2.CancelStageRequest) -> node_pb2.CancelStageResponse:
    """The node's answer; where it does not know the attempt, nothing of it is left to be stopped."""
    try:
        return await stub.CancelStage(request, timeout=COMMAND_TIMEOUT_S)  # type: ignore[no-any-return] # any stub
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return node_pb2.CancelStageResponse()


def _replica(effect: ReplicaCommand) -> node_pb2.ReplicaRef:
    return node_pb2.ReplicaRef(accelerator=effect.accelerator, model=effect.model, generation=effect.generation)
