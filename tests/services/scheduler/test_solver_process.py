"""A solver's process that is stuck or has crashed: it is replaced and counted, and stages run meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from service_world import diamond, world

from maestro.client import AsyncClient, PlanReport
from maestro.reasons import Reason
from maestro.status import WorkflowState


async def restarted(client: AsyncClient) -> PlanReport:
    """Waits until the scheduler tells of a restart."""
    async with asyncio.timeout(60):
        while not (report := await client.plan()).solver_restarts:
            await asyncio.sleep(0.05)
    return report


@pytest.mark.parametrize(
    ("harm", "reason"), [(signal.SIGKILL, Reason.SOLVER_CRASHED), (signal.SIGSTOP, Reason.SOLVER_TIMED_OUT)]
)
async def test_it_is_replaced_and_operators_see_how_often_and_why(
    tmp_path: Path, harm: signal.Signals, reason: Reason
) -> None:
    async with world(tmp_path) as maestro:
        await maestro.scheduler.planner.wait_ready()
        await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=60)
        process = maestro.scheduler.planner.pid
        assert process is not None
        os.kill(process, harm)
        result = await maestro.client.result(await maestro.client.submit(diamond()), timeout_s=60)
        assert result.status.state is WorkflowState.SUCCEEDED
        report = await restarted(maestro.client)
        await maestro.scheduler.planner.wait_ready()
        assert maestro.scheduler.planner.pid != process
    assert report.fallbacks_by_reason[reason] >= 1
