"""What `maestro status` and `maestro show` tell of workflows that have ended, by this scheduler or an earlier one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cli_scenario import write_scenario
from typer.testing import CliRunner

from maestro.client import AsyncClient
from maestro.scenario import load
from maestro.workflow import ToolStage, WorkflowSpec
from maestro_services.cli.main import app
from maestro_services.scheduler.serve import Scheduler
from maestro_services.scheduler.settings import settings_of

TOOLS = WorkflowSpec("tools", (ToolStage("ask", "human"), ToolStage("tell", "human", after=("ask",))))


@asynccontextmanager
async def scheduler(scenario: Path) -> AsyncIterator[str]:
    """Runs a scheduler without nodes; gives its address."""
    stop = asyncio.Event()
    found = Scheduler(settings_of(load(scenario)), stop)
    running = asyncio.create_task(found.run())
    try:
        yield await found.wait_listening()
    finally:
        stop.set()
        await running


async def call(server: str, *arguments: str) -> str:
    """What a command prints."""
    done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--server", server])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_workflows_that_have_ended_are_told_with_their_stages(tmp_path: Path) -> None:
    scenario = write_scenario(tmp_path)
    async with scheduler(scenario) as server, AsyncClient(server) as client:
        done, cancelled = [await client.submit(TOOLS) for _ in range(2)]
        for stage in ("ask", "tell"):
            await client.complete_stage(done, stage, output="yes")
        await client.cancel(cancelled)
        before = await call(server, "status", "--json")
    async with scheduler(scenario) as server:
        after, shown = await call(server, "status", "--json"), await call(server, "show", done, "--json")
        table = await call(server, "status")
    for report in (before, after):
        told = {workflow["id"]: workflow for workflow in json.loads(report)["workflows"]}
        assert [(s["id"], s["state"]) for s in told[done]["stages"]] == [("ask", "succeeded"), ("tell", "succeeded")]
        assert [stage["state"] for stage in told[cancelled]["stages"]] == ["cancelled", "cancelled"]
    assert [stage["output"] for stage in json.loads(shown)["stages"]] == ["yes", "yes"]
    assert "2/2" in table
