"""The scheduler's process: puts store, core, loop, planner, dispatcher and servers together, and takes them apart."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys

import grpc
import orjson
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from threadpoolctl import threadpool_limits

from maestro.errors import InvalidInputError
from maestro.v1 import fleet_pb2, fleet_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc
from maestro.wire_errors import MAX_MESSAGE_BYTES
from maestro_services.scheduler.client_server import SchedulerServicer
from maestro_services.scheduler.core import SchedulerCore
from maestro_services.scheduler.core.outcome import Effect, RequestPlan
from maestro_services.scheduler.dispatch import Dispatcher
from maestro_services.scheduler.fleet_server import FleetServicer
from maestro_services.scheduler.loop import DRAINED_FACT, SchedulerLoop
from maestro_services.scheduler.node_connections import NodeConnections
from maestro_services.scheduler.planning import PlannerHost
from maestro_services.scheduler.predictor_memory import recovered_lengths
from maestro_services.scheduler.recovery import recovered_workflow, whole_status
from maestro_services.scheduler.settings import SchedulerSettings
from maestro_services.scheduler.startup import bound_port, opened_store
from maestro_services.scheduler.submission import Submissions
from maestro_services.scheduler.views import Views

STOP_GRACE_S = 2.0
LOCK_HANDOVER_S = 0.0005
LEAST_PING_INTERVAL_MS = 10_000  # a watcher of a quiet workflow keeps its connection alive
SERVICE_NAMES = (
    scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name,
    fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name,
)
HEALTHY_NAMES = ("", *SERVICE_NAMES)  # the empty name stands for the process

log = logging.getLogger(__name__)


class Scheduler:
    """A whole scheduler on the running event loop."""

    def __init__(self, settings: SchedulerSettings, stop: asyncio.Event) -> None:
        """Opens the store and takes over what it holds. A failing store sets ``stop``: nothing would be durable."""
        self._settings = settings
        self._stop = stop
        self._event_loop = asyncio.get_running_loop()
        self._broken: BaseException | None = None
        self._listening: asyncio.Future[str] = self._event_loop.create_future()
        self._store = opened_store(settings, self._give_up, self._event_loop)
        self._views = Views(settings.watcher_buffer)
        lengths, lessons = recovered_lengths(
            self._store.fact, settings.predictor, trained=settings.trained, artefact=settings.artefact
        )
        core = SchedulerCore(
            settings.core,
            lengths,
            epoch=self._store.begin_epoch(),
            sequence=self._store.last_sequence(),
            lessons=lessons,
        )
        self.loop = SchedulerLoop(core, self._store, self._views, self._carry_out, self._give_up)
        self._nodes = NodeConnections(self.loop.post, settings.core.lease_ttl_s)
        self._dispatcher = Dispatcher(core.epoch, self._nodes, self.loop.post, self._views, self._give_up)
        self.planner = PlannerHost(settings.planner, self.loop.post)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs lack it
        self._server = self._build_server()

    async def run(self) -> None:
        """Serves until ``stop`` is set. Raises what broke the store, if that was the reason."""
        bound = self._take_address()
        _favour_short_waits()
        self.planner.start()
        self._recover(self.loop.core)
        await self._server.start()
        self.loop.start()
        address = f"{self._settings.listen.rpartition(':')[0]}:{bound}"
        log.info("scheduler epoch %s listens on %s", self.loop.core.epoch, address)
        self._listening.set_result(address)
        try:
            await self._stay_healthy()
        finally:
            await self._server.stop(STOP_GRACE_S)
            self.loop.close()
            await self.planner.close()
            self._dispatcher.close()
            await self._nodes.close()
            self._store.close()
        if self._broken is not None:
            raise self._broken

    def _take_address(self) -> int:
        """Binds the address and returns its port; lets go of the store where the address cannot be had."""
        try:
            return bound_port(self._server, self._settings.listen)
        except InvalidInputError:
            self._store.close()
            raise

    async def _stay_healthy(self) -> None:
        """Tells who checks the health that every service works, and, once ``stop`` is set, that none does."""
        for name in HEALTHY_NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            await self._stop.wait()
        finally:
            await self._health.enter_graceful_shutdown()

    async def wait_listening(self) -> str:
        """The bound host:port, once calls are answered."""
        return await asyncio.shield(self._listening)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, RequestPlan):
            self.planner.request(effect.snapshot)
        else:
            self._dispatcher.carry_out(effect)

    def _recover(self, core: SchedulerCore) -> None:
        stored = self._store.active()
        drained = self._store.fact(DRAINED_FACT)
        if drained is not None:
            core.drain(frozenset(orjson.loads(drained)))
        for workflow in stored:
            self._views.restore(whole_status(workflow))
        self.loop.restore([recovered_workflow(workflow) for workflow in stored])
        if stored:
            log.info("took over %d workflows that had not ended", len(stored))

    def _build_server(self) -> grpc.aio.Server:
        settings = self._settings
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_INTERVAL_MS),
        ]
        server = grpc.aio.server(options=options)
        submissions = Submissions(
            self.loop,
            self._store,
            limits=settings.limits,
            models=frozenset(settings.core.fleet.models),
            slo_classes=frozenset(settings.core.slo_classes),
            queue=settings.submit_queue,
        )
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(
            SchedulerServicer(self.loop, self._store, self._views, submissions, self._plans), server
        )
        fleet_pb2_grpc.add_FleetServiceServicer_to_server(
            FleetServicer(self.loop, settings.core.lease_ttl_s, self._nodes),
            server,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    def _plans(self) -> tuple[dict[str, int], dict[str, int], int]:
        return dict(self.loop.plans), dict(self.loop.fallbacks), self.planner.replaced

    def _give_up(self, error: BaseException) -> None:
        """Stops the scheduler; whoever started it is told why, and another one recovers what is durable."""
        log.critical("the scheduler stops: %s", error)
        self._broken = self._broken or error
        self._stop.set()


def _favour_short_waits() -> None:
    """Settings under which neither threads nor the collector hold a stage up.

    Workflows live long: walking all of them again and again would free nothing. Threads read from the store,
    from the planner and from gRPC, and the default lets each keep the interpreter's lock for 5 ms. A forecast's
    matrices are so small that a second thread of the linear algebra only has to be waited for.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    sys.setswitchinterval(LOCK_HANDOVER_S)
    threadpool_limits(1, user_api="blas")


async def serve(settings: SchedulerSettings, stop: asyncio.Event) -> None:
    """Runs a scheduler until ``stop`` is set.

    Raises InvalidInputError where the scenario's address or store cannot be used, ConflictError where the store is in
    use, and what broke the store where that ended the scheduler.
    """
    await Scheduler(settings, stop).run()
