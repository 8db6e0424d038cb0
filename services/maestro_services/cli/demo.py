"""``maestro demo``: eight real workflows on the engines of one scenario, from start to a clean stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import DeadlineExceededError, MaestroError
from maestro.status import StageState, WorkflowState
from maestro_services.cli.limits import check_limit
from maestro_services.cli.output import JsonOption, console, emit_json, notices

if TYPE_CHECKING:
    from rich.console import Console

    from maestro.client import AsyncClient
    from maestro.status import StageStatus, WorkflowStatus
    from maestro.workflow import WorkflowSpec
    from maestro_services.cli.board import Board
    from maestro_services.cli.demo_process import Remains
    from maestro_services.cli.demo_summary import LoadCounter, RunSummary

_LABEL = {"started_by": "maestro demo"}
_OBSERVE_S = 1.0
_Titled = tuple[str, "WorkflowSpec"]


class DemoFailedError(MaestroError):
    """The demo did not end as it should: workflows that did not succeed, or something left behind."""


def demo(
    scenario: Annotated[Path, typer.Argument(help="The scenario to run on.")] = Path("scenarios/laptop.yaml"),
    limit: Annotated[float, typer.Option(help="Give up after so many seconds.")] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Start everything, run eight workflows of three shapes, show outputs and a summary, and stop everything."""
    from maestro.scenario import load
    from maestro_services.cli.demo_workflows import demo_workflows

    check_limit(limit, "the demo")
    load(scenario)  # so that what is wrong with it is said first, and as such
    workflows = demo_workflows(scenario.parent / "workflows")
    asyncio.run(_demo(scenario, workflows, limit, as_json))


async def _demo(scenario: Path, workflows: Sequence[_Titled], limit_s: float, as_json: bool) -> None:
    from maestro_services.cli.demo_process import running_up

    printer = notices() if as_json else console()
    printer.print(f"starting `maestro up {scenario}` ...", soft_wrap=True)
    try:
        async with asyncio.timeout(limit_s), running_up(scenario) as up:
            printer.print(f"scheduler and {len(up.nodes)} nodes are up; logs in {up.log_dir}", soft_wrap=True)
            statuses, summary = await _run_workflows(up.scheduler, workflows, printer)
            _print_results(workflows, statuses, summary, as_json)
            printer.print("stopping ...")
            remains = await up.stop()
    except TimeoutError:
        raise DeadlineExceededError(f"the demo has not ended within {limit_s:g} s") from None
    _ensure_success(summary, remains)
    printer.print("stopped: no process left, no port held")


async def _run_workflows(
    scheduler: str, workflows: Sequence[_Titled], printer: Console
) -> tuple[tuple[WorkflowStatus, ...], RunSummary]:
    """Submit all, show them until they have ended, and add up what they took."""
    from maestro.client import AsyncClient
    from maestro_services.cli.board import Board
    from maestro_services.cli.demo_summary import LoadCounter, summarise
    from maestro_services.cli.following import follow

    board, counter = Board(), LoadCounter()
    async with AsyncClient(scheduler) as client:
        await _cancel_leftovers(client)
        began_s = time.monotonic()
        async with _counting_loads(scheduler, counter):
            await _submit(client, workflows, board)
            await follow(client, board, printer)
        seconds = time.monotonic() - began_s
        statuses = tuple(board.workflows.values())
        return statuses, summarise(statuses, await client.plan(), counter, seconds)


async def _cancel_leftovers(client: AsyncClient) -> None:
    """End what an earlier demo that was killed has left in the store: it would compete with this one."""
    async for workflow in client.list(state=WorkflowState.ACTIVE):
        if workflow.labels.items() >= _LABEL.items():
            await client.cancel(workflow.id)


async def _submit(client: AsyncClient, workflows: Sequence[_Titled], board: Board) -> None:
    for title, spec in workflows:
        workflow_id = await client.submit(replace(spec, labels={**spec.labels, **_LABEL}))
        board.put(await client.get(workflow_id), title)


@asynccontextmanager
async def _counting_loads(scheduler: str, counter: LoadCounter) -> AsyncIterator[None]:
    """Look at the nodes once a second, for as long as the block runs."""
    from maestro_services.cli.fleet_client import list_nodes

    async def keep_looking() -> None:
        while True:
            with suppress(MaestroError):
                counter.observe(await list_nodes(scheduler))
            await asyncio.sleep(_OBSERVE_S)

    looking = asyncio.create_task(keep_looking())
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


def _print_results(
    workflows: Sequence[_Titled], statuses: Sequence[WorkflowStatus], summary: RunSummary, as_json: bool
) -> None:
    """Print the final outputs and the summary."""
    from maestro_services.cli.demo_summary import summary_lines

    if as_json:
        emit_json({"workflows": statuses, "summary": summary})
        return
    printer = console()
    for (title, spec), status in zip(workflows, statuses, strict=True):
        for stage in status.stages:
            if not spec.successors[stage.id]:
                printer.rule(f"{title}: {stage.id} ({stage.role})", align="left")
                printer.print(_ending(stage), soft_wrap=True)
    printer.rule("summary", align="left")
    for line in summary_lines(summary):
        printer.print(line, soft_wrap=True)


def _ending(stage: StageStatus) -> str:
    """Return the stage's output, or why there is none."""
    if stage.state is StageState.SUCCEEDED:
        return stage.output.strip() or "(the model ended without a word)"
    return f"{stage.state}: {stage.reason} {stage.detail}"


def _ensure_success(summary: RunSummary, remains: Remains) -> None:
    """Raise DemoFailedError unless every workflow succeeded and nothing is left."""
    if remains:
        left = ", ".join((*remains.processes, *remains.addresses))
        raise DemoFailedError(f"something is left after the stop: {left}")
    if summary.succeeded < summary.workflows:
        raise DemoFailedError(f"{summary.workflows - summary.succeeded} workflows did not succeed")
