"""A solver's process that is stuck or has crashed: it is replaced and counted, and stages run meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from service_world import PATIENCE_S, diamond, until, world

from maestro.reasons import Reason
from maestro.status import WorkflowState
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.planning import host
from maestro_services.scheduler.planning.process import NICENESS
from maestro_solver.planner import PlannerConfig


@pytest.mark.parametrize(
    ("harm", "reason"), [(signal.SIGKILL, Reason.SOLVER_CRASHED), (signal.SIGSTOP, Reason.SOLVER_TIMED_OUT)]
)
async def test_it_is_replaced_and_operators_see_how_often_and_why(
    tmp_path: Path, harm: signal.Signals, reason: Reason
) -> None:
    async with world(tmp_path) as maestro:
        await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=PATIENCE_S)
        await maestro.scheduler.planner.wait_ready()
        process = maestro.scheduler.planner.pid
        assert process is not None
        os.kill(process, harm)
        result = await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        await until(lambda: maestro.scheduler.planner.pid != process)
        await maestro.scheduler.planner.wait_ready()
        report = await maestro.client.plan()
    assert report.solver_restarts >= 1
    assert report.fallbacks_by_reason[reason] >= 1


async def test_a_killed_process_is_read_from_no_more_whoever_has_its_descriptor_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tests a reader that stands still between asking for a message and taking it, until the process is replaced."""
    reads, goes_on = threading.Event(), threading.Event()

    def slow_read(descriptor: int, size: int) -> bytes:
        reads.set()
        goes_on.wait(PATIENCE_S)
        return os.read(descriptor, size)

    monkeypatch.setattr(Connection._recv, "__defaults__", (slow_read,))
    process = host._Process(PlannerConfig())
    await asyncio.to_thread(reads.wait, PATIENCE_S)
    process.kill()
    next_one = socket.socketpair()
    for end in next_one:
        end.send(b"another process's message")
    goes_on.set()
    assert await asyncio.wait_for(process.inbox.get(), PATIENCE_S) is None
    for end in next_one:
        assert end.recv(100, socket.MSG_DONTWAIT) == b"another process's message"
        end.close()


async def test_a_process_that_starts_slowly_gets_longer_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests a machine on which no start is over within the first limit."""
    monkeypatch.setattr(host, "START_TIMEOUT_S", 0.25)
    monkeypatch.setattr(host, "START_AGAIN_S", 0.0)
    events: list[on.Event] = []
    planner = host.PlannerHost(PlannerConfig(), events.append)
    planner.start()
    async with asyncio.timeout(PATIENCE_S):
        await planner.wait_ready()
    assert planner.replaced > 0
    await planner.close()


async def test_a_process_that_is_ready_yields_the_cores() -> None:
    planner = host.PlannerHost(PlannerConfig(), [].append)
    planner.start()
    async with asyncio.timeout(PATIENCE_S):
        await planner.wait_ready()
    assert planner.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, planner.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    await planner.close()
