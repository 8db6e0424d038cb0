"""The service where plans decide residency alone: real gRPC, store and planner process, simulated engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import service_world
from service_world import PATIENCE_S, PLANS_IN_ANY_CASE_S, call, diamond, world

from maestro.plan import PlanSource
from maestro.status import WorkflowState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.settings import SchedulerSettings
from maestro_solver.heuristics.dispatch import URGENCY


@pytest.fixture(autouse=True)
def plans_of_residency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scheduler of the world starts stages by urgency."""
    settings_of_stages = service_world.settings

    def settings(*given: object, **named: object) -> SchedulerSettings:
        found = settings_of_stages(*given, **named)  # type: ignore[arg-type]
        return replace(found, core=replace(found.core, starts=URGENCY))

    monkeypatch.setattr(service_world, "settings", settings)


async def test_workflows_run_to_their_end_under_plans_of_residency(tmp_path: Path) -> None:
    """Tests that the solver's plans load both models, and place no stage."""
    async with world(tmp_path, limit_s=PLANS_IN_ANY_CASE_S) as maestro:
        await maestro.scheduler.planner.wait_ready()
        ids = [await maestro.client.submit(diamond()) for _ in range(4)]
        results = [await maestro.client.result(workflow_id, timeout_s=PATIENCE_S) for workflow_id in ids]
        report = await maestro.client.plan()
    assert all(result.status.state is WorkflowState.SUCCEEDED for result in results)
    assert {stage.model for result in results for stage in result.status.stages} == {"writer", "critic"}
    assert report.plans_by_source.get(PlanSource.CP_SAT, 0) >= 1
    assert report.plan is not None
    assert report.plan.assignments == ()
    assert {found.model for found in report.plan.residencies} == {"writer", "critic"}


async def test_models_that_one_accelerator_cannot_hold_at_once_take_turns(tmp_path: Path) -> None:
    async with world(tmp_path, {"left-node": True, "right-node": False}) as maestro:
        chain = WorkflowSpec("essays", (call("draft"), call("review", "draft", models=("critic",))))
        ids = [await maestro.client.submit(chain) for _ in range(3)]
        results = [await maestro.client.result(workflow_id, timeout_s=PATIENCE_S) for workflow_id in ids]
    assert all(result.status.state is WorkflowState.SUCCEEDED for result in results)


async def test_the_next_scheduler_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async with world(tmp_path) as maestro:
        ids = [await maestro.client.submit(diamond()) for _ in range(3)]
        await asyncio.sleep(0.3)
        await maestro.stop_scheduler()
        await maestro.restart_scheduler()
        results = [await maestro.client.result(workflow_id, timeout_s=PATIENCE_S) for workflow_id in ids]
    assert all(result.status.state is WorkflowState.SUCCEEDED for result in results)
