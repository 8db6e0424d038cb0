"""Puts a node agent together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from maestro.errors import InvalidInputError
from maestro.v1 import fleet_pb2, node_pb2, node_pb2_grpc
from maestro_node.config import EngineKind, NodeConfig
from maestro_node.engines.clock import Clock, MonotonicClock
from maestro_node.engines.interface import Engine
from maestro_node.engines.simulated import SimulatedEngine
from maestro_node.engines.vllm import VllmEngine
from maestro_node.server.agent import NodeAgent
from maestro_node.server.error_answers import ErrorAnswers
from maestro_node.server.registration import Registration
from maestro_node.server.reports import capabilities_report
from maestro_node.server.service import NodeService

_LOG = logging.getLogger(__name__)
_SERVICE = node_pb2.DESCRIPTOR.services_by_name["NodeService"].full_name
_STREAM_GRACE_S = 0.5
_MAX_MESSAGE_BYTES = 64 << 20
_SERVER_OPTIONS = (
    # Over gRPC's default of 4 MB, so that the limit that answers a large prompt is one that explains itself.
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # The scheduler asks quiet connections every 10 s whether somebody is there.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    # Two agents on one port would each get half of the commands.
    ("grpc.so_reuseport", 0),
)


async def serve(config: NodeConfig, stop: asyncio.Event, on_listening: Callable[[str], None] | None = None) -> None:
    """Run a node agent until ``stop`` is set; no engine process and no port is left when it returns.

    ``on_listening`` is called with the bound ``host:port``. Raises InvalidInputError where the configuration cannot
    work: an address in use, an interpreter without vLLM, elastic KV on an engine that has none.
    """
    clock = MonotonicClock()
    engine = _make_engine(config, clock)
    _check_elasticity(config, engine)
    await engine.prepare()
    try:
        agent = NodeAgent(config.node, config.models, engine, clock)
        try:
            await _serve_agent(config, agent, engine, clock, stop, on_listening)
        finally:
            await agent.close()
    finally:
        await engine.close()


async def _serve_agent(
    config: NodeConfig,
    agent: NodeAgent,
    engine: Engine,
    clock: Clock,
    stop: asyncio.Event,
    on_listening: Callable[[str], None] | None,
) -> None:
    """Serve and stay registered until ``stop``; then take no more commands."""
    instance_id = uuid.uuid4().hex
    models = config.models if config.engine.kind is EngineKind.SIMULATED else config.sources
    capabilities = capabilities_report(config.node, instance_id, engine.capabilities, models)
    async with _listening(config.listen_address, NodeService(agent, clock, capabilities)) as address:
        _LOG.info("node %s of cluster %s serves on %s", config.node.name, config.cluster, address)
        if on_listening is not None:
            on_listening(address)
        announcement = fleet_pb2.RegisterNodeRequest(
            node=config.node.name,
            instance_id=instance_id,
            address=config.advertise_address or address,
            capabilities=capabilities,
        )
        async with _registered(config.scheduler_address, announcement, agent):
            await stop.wait()


@asynccontextmanager
async def _listening(listen_address: str, service: NodeService) -> AsyncGenerator[str, None]:
    """Serve on the address and yield it with the real port; streams are ended on leaving."""
    server = grpc.aio.server(interceptors=[ErrorAnswers()], options=_SERVER_OPTIONS)
    node_pb2_grpc.add_NodeServiceServicer_to_server(service, server)
    status = health.aio.HealthServicer()  # type: ignore[attr-defined]  # set at run time
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(listen_address)
    except RuntimeError as error:
        raise InvalidInputError(
            "listen_address", "cannot be bound", value=listen_address, remedy="stop what uses it, or choose another"
        ) from error
    await server.start()
    for name in ("", _SERVICE):
        await status.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield f"{listen_address.rpartition(':')[0]}:{port}"
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(_STREAM_GRACE_S)


@asynccontextmanager
async def _registered(
    scheduler_address: str, announcement: fleet_pb2.RegisterNodeRequest, agent: NodeAgent
) -> AsyncGenerator[None, None]:
    """Stay registered with the scheduler, where there is one."""
    if not scheduler_address:
        yield
        return
    registration = asyncio.create_task(Registration(scheduler_address, announcement, agent).run())
    try:
        yield
    finally:
        registration.cancel()
        with suppress(asyncio.CancelledError):
            await registration


def _make_engine(config: NodeConfig, clock: Clock) -> Engine:
    """Make the engine that the settings name."""
    if config.engine.kind is EngineKind.SIMULATED:
        is_elastic = any(item.kv_elastic for item in config.node.accelerators)
        return SimulatedEngine(
            clock,
            seed=config.engine.simulation_seed,
            enable_sleep=config.engine.enable_sleep,
            kv_elastic=is_elastic,
        )
    return VllmEngine(config.engine, config.node, config.sources)


def _check_elasticity(config: NodeConfig, engine: Engine) -> None:
    """Raise InvalidInputError where an accelerator promises elastic KV that the engine does not have."""
    for item in config.node.accelerators:
        if item.kv_elastic and not engine.capabilities.kv_elastic:
            raise InvalidInputError(
                f"accelerators.{item.name}.kv_elastic",
                f"cannot be true: {engine.capabilities.name} holds a fixed pool",
                value=True,
                remedy="set it to false",
            )
