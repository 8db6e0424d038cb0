"""The gRPC face of the node: reads commands, asks the agent, writes answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeAlias

from grpc.aio import ServicerContext
from typing_extensions import override

from maestro.v1 import node_pb2, node_pb2_grpc
from maestro_node.engines.clock import Clock
from maestro_node.server.agent import NodeAgent
from maestro_node.server.reports import replica_report, status_report
from maestro_node.server.requests import attempt_of, generation_request, replica_key

Context: TypeAlias = "ServicerContext[Any, Any]"


class NodeService(node_pb2_grpc.NodeServiceServicer):
    """Methods mean what ``node.proto`` says; the errors they raise are answered by :class:`ErrorAnswers`."""

    def __init__(self, agent: NodeAgent, clock: Clock, capabilities: node_pb2.GetCapabilitiesResponse) -> None:
        self._agent = agent
        self._clock = clock
        self._capabilities = capabilities

    @override
    async def GetCapabilities(
        self, request: node_pb2.GetCapabilitiesRequest, context: Context
    ) -> node_pb2.GetCapabilitiesResponse:
        """What the node has and can do."""
        return self._capabilities

    @override
    async def LoadModel(self, request: node_pb2.LoadModelRequest, context: Context) -> node_pb2.LoadModelResponse:
        """Begin to load a model; answers at once."""
        key = replica_key(request.replica)
        replica = self._agent.load(request.scheduler_epoch, key, request.kv_pool_bytes, tuple(request.peers))
        return node_pb2.LoadModelResponse(replica=replica_report(replica, self._clock.now()))

    @override
    async def UnloadModel(self, request: node_pb2.UnloadModelRequest, context: Context) -> node_pb2.UnloadModelResponse:
        """Stop an idle replica; answers once its memory is free."""
        await self._agent.unload(request.scheduler_epoch, replica_key(request.replica))
        return node_pb2.UnloadModelResponse()

    @override
    async def SleepModel(self, request: node_pb2.SleepModelRequest, context: Context) -> node_pb2.SleepModelResponse:
        """Move weights to host memory; answers once the device memory is free."""
        await self._agent.sleep(request.scheduler_epoch, replica_key(request.replica))
        return node_pb2.SleepModelResponse()

    @override
    async def WakeModel(self, request: node_pb2.WakeModelRequest, context: Context) -> node_pb2.WakeModelResponse:
        """Move weights back; answers once the replica serves."""
        await self._agent.wake(request.scheduler_epoch, replica_key(request.replica))
        return node_pb2.WakeModelResponse()

    @override
    async def SetKvBudget(self, request: node_pb2.SetKvBudgetRequest, context: Context) -> node_pb2.SetKvBudgetResponse:
        """Bound the KV reservations of a replica."""
        key = replica_key(request.replica)
        self._agent.set_kv_budget(request.scheduler_epoch, key, request.kv_budget_bytes)
        return node_pb2.SetKvBudgetResponse()

    @override
    async def ExecuteStage(
        self, request: node_pb2.ExecuteStageRequest, context: Context
    ) -> AsyncGenerator[node_pb2.ExecuteStageResponse]:
        """Run an attempt, or follow it from its beginning where it is known."""
        run = self._agent.execute(request.scheduler_epoch, attempt_of(request), generation_request(request))
        async with aclosing(run.follow()) as events:
            async for event in events:
                yield node_pb2.ExecuteStageResponse(event=event)

    @override
    async def ReattachStage(
        self, request: node_pb2.ReattachStageRequest, context: Context
    ) -> AsyncGenerator[node_pb2.ReattachStageResponse]:
        """Follow a known attempt from an offset of its output."""
        run = self._agent.reattach(request.scheduler_epoch, request.attempt_id)
        run.check_offset(request.from_offset)
        async with aclosing(run.follow(request.from_offset)) as events:
            async for event in events:
                yield node_pb2.ReattachStageResponse(event=event)

    @override
    async def AckResult(self, request: node_pb2.AckResultRequest, context: Context) -> node_pb2.AckResultResponse:
        """Forget ended attempts."""
        self._agent.acknowledge(request.scheduler_epoch, request.attempt_ids)
        return node_pb2.AckResultResponse()

    @override
    async def CancelStage(self, request: node_pb2.CancelStageRequest, context: Context) -> node_pb2.CancelStageResponse:
        """Abort a running attempt."""
        tokens = await self._agent.cancel(request.scheduler_epoch, request.attempt_id)
        return node_pb2.CancelStageResponse(completion_tokens=tokens)

    @override
    async def GetStatus(self, request: node_pb2.GetStatusRequest, context: Context) -> node_pb2.GetStatusResponse:
        """What is resident, running and kept."""
        return self._status()

    @override
    async def WatchStatus(
        self, request: node_pb2.WatchStatusRequest, context: Context
    ) -> AsyncGenerator[node_pb2.WatchStatusResponse]:
        """The whole status now and after every change; changes that come faster than they are read are told once."""
        async with aclosing(self._agent.feed.changes()) as changes:
            async for _ in changes:
                yield node_pb2.WatchStatusResponse(status=self._status())

    def _status(self) -> node_pb2.GetStatusResponse:
        return status_report(self._agent.core, self._agent.runs, self._capabilities.instance_id, self._clock.now())
