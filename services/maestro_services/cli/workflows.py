"""Commands on workflows: submit, watch, cancel, complete."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import MaestroError
from maestro_services.cli.connection import DEFAULT_SERVER, ServerOption
from maestro_services.cli.output import JsonOption, console, emit, emit_json

if TYPE_CHECKING:
    from maestro.client import AsyncClient
    from maestro.status import WorkflowState, WorkflowStatus

WorkflowId = Annotated[str, typer.Argument(metavar="ID", help="The workflow's id.")]


class WorkflowNotSucceededError(MaestroError):
    """A workflow that was watched failed or was cancelled; the message names the stages and reasons."""


def submit(
    file: Annotated[Path, typer.Argument(help="A workflow, YAML or JSON.")],
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow it to its end and print its outputs.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Submit a workflow file; once this prints the id, the workflow survives a crash of the scheduler."""
    from maestro.workflow_file import load_workflow

    spec = load_workflow(file)

    async def run() -> None:
        async with _client(server) as client:
            workflow_id = await client.submit(spec)
            emit({"workflow_id": workflow_id}, as_json=as_json, view=workflow_id)
            if watch_it:
                await _watch_to_the_end(client, workflow_id, as_json=as_json)

    asyncio.run(run())


def watch(
    workflow_id: WorkflowId,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Follow a workflow to its end, stage by stage, then print its outputs; ends with 1 if it did not succeed."""

    async def run() -> None:
        async with _client(server) as client:
            await _watch_to_the_end(client, workflow_id, as_json=as_json)

    asyncio.run(run())


def cancel(
    workflow_id: WorkflowId,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Cancel what has not ended of a workflow; one that has ended keeps its state."""

    async def run() -> WorkflowState:
        async with _client(server) as client:
            return await client.cancel(workflow_id)

    state = asyncio.run(run())
    emit({"workflow_id": workflow_id, "state": state}, as_json=as_json, view=f"{workflow_id}: {state}")


def complete(
    workflow_id: WorkflowId,
    stage_id: Annotated[str, typer.Argument(metavar="STAGE", help="The tool stage's id.")],
    output: Annotated[str | None, typer.Option(help="The tool's result, which later stages may quote.")] = None,
    error: Annotated[str | None, typer.Option(help="Why the tool failed; the stage then fails for good.")] = None,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """End a tool stage with its output or its error."""

    async def run() -> None:
        async with _client(server) as client:
            await client.complete_stage(workflow_id, stage_id, output=output, error=error)

    asyncio.run(run())
    ended = "completed" if error is None else "failed"
    emit(
        {"workflow_id": workflow_id, "stage_id": stage_id, "state": ended}, as_json=as_json, view=f"{stage_id}: {ended}"
    )


def _client(server: str) -> AsyncClient:
    from maestro.client import AsyncClient

    return AsyncClient(server)


async def _watch_to_the_end(client: AsyncClient, workflow_id: str, *, as_json: bool) -> None:
    """Follow the workflow and print what became of it; raises WorkflowNotSucceededError if it did not succeed."""
    from maestro.client import WorkflowResult
    from maestro_services.cli.board import Board
    from maestro_services.cli.following import follow

    board = Board()
    board.put(await client.get(workflow_id))
    await follow(client, board, console(), as_json=as_json)
    result = WorkflowResult(board.workflows[workflow_id])
    _print_outputs(result.status, as_json=as_json)
    if not result.succeeded:
        causes = ", ".join(f"{stage.id} ({stage.reason}: {stage.detail})" for stage in result.failures)
        raise WorkflowNotSucceededError(
            f"workflow {workflow_id} {result.status.state}{f': {causes}' if causes else ''}"
        )


def _print_outputs(status: WorkflowStatus, *, as_json: bool) -> None:
    """Print the whole status as JSON, or all outputs for people."""
    from maestro.client import WorkflowResult

    if as_json:
        emit_json({"workflow": status}, indent=None)
        return
    printer = console()
    for stage_id, output in WorkflowResult(status).outputs.items():
        printer.rule(stage_id, align="left")
        printer.print(output, soft_wrap=True)
