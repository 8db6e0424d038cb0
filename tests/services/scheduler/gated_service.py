"""A scheduler's service without nodes whose commits wait for the test: what happens between queued and durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from core_driver import core_config
from service_world import fleet, until

from maestro.client import AsyncClient
from maestro.v1 import scheduler_pb2_grpc
from maestro.validation import WorkflowLimits
from maestro_services.scheduler.client_server import SchedulerServicer
from maestro_services.scheduler.core import CoreConfig, SchedulerCore
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.store.writer import Write
from maestro_services.scheduler.submission import Submissions
from maestro_services.scheduler.views import Views
from maestro_solver.predictor import LengthPredictor


class GatedStore(Store):
    """A real store that holds writes back while its gate is shut."""

    def __init__(self, folder: Path, synchronous: str = "normal") -> None:
        """Opens a store in the folder, with the gate open."""
        self.failures: list[BaseException] = []
        self.held: list[Write] = []
        self.is_shut = False
        turns = asyncio.get_running_loop()
        super().__init__(folder / "store.sqlite", synchronous=synchronous, failed=self.failures.append, turns=turns)

    def write(self, write: Write) -> None:
        """Queues a write, or keeps it behind the gate."""
        if self.is_shut:
            self.held.append(write)
        else:
            super().write(write)

    def open_gate(self) -> None:
        """Lets everything that was held back become durable."""
        self.is_shut = False
        for write in self.held:
            super().write(write)
        self.held.clear()

    async def holds(self, writes: int) -> None:
        """Waits until that many writes are behind the gate."""
        await until(lambda: len(self.held) >= writes)


@dataclass
class GatedService:
    """What a test drives: the gate, the submissions behind the service, and the service by wire."""

    store: GatedStore
    loop: SchedulerLoop
    submissions: Submissions
    client: AsyncClient
    stub: scheduler_pb2_grpc.SchedulerServiceStub


@asynccontextmanager
async def gated_service(
    folder: Path,
    *,
    queue: int = 100,
    watcher_buffer: int = 100,
    config: CoreConfig | None = None,
    synchronous: str = "normal",
) -> AsyncIterator[GatedService]:
    """A service on a free port of the loopback, with its gate open."""
    store, views = GatedStore(folder, synchronous), Views(watcher_buffer)
    core = SchedulerCore(config or core_config(), RoleLengths(LengthPredictor()), epoch=1)
    loop = SchedulerLoop(core, store, views, lambda _: None, store.failures.append)
    models, classes = frozenset(fleet().models), frozenset(core_config().slo_classes)
    submissions = Submissions(loop, store, limits=WorkflowLimits(), models=models, slo_classes=classes, queue=queue)
    server = grpc.aio.server()
    servicer = SchedulerServicer(loop, store, views, submissions, lambda: ({}, {}, 0))
    scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with AsyncClient(address) as client, grpc.aio.insecure_channel(address) as channel:
            stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
            yield GatedService(store, loop, submissions, client, stub)
    finally:
        await server.stop(None)
        loop.close()
        store.open_gate()
        await asyncio.to_thread(store.close)
