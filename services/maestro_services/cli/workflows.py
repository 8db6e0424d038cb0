"""Commands on workflows: submit, watch, cancel, complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError
from maestro_services.cli.connection import DEFAULT_SERVER, ServerOption
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.output import JsonOption, console, emit, emit_json, notices
from maestro_services.cli.workflow_ids import WorkflowId, full_id

if TYPE_CHECKING:
    from maestro.client import AsyncClient
    from maestro.status import WorkflowState, WorkflowStatus


def submit(
    file: Annotated[Path, typer.Argument(help="A workflow, YAML or JSON.")],
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow it to its end and print its outputs.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Submit a workflow file; once this prints the id, the workflow survives a crash of the scheduler."""
    from maestro.document import read_document
    from maestro.workflow_file import accepted_form, located_refusal

    document = read_document(file)
    spec = accepted_form(document)

    async def run(on_id: Callable[[str], None]) -> None:
        async with _client(server) as client:
            try:
                workflow_id = await client.submit(spec)
            except InvalidInputError as refusal:
                raise located_refusal(document, refusal) from refusal
            on_id(workflow_id)
            if as_json:
                emit_json({"workflow_id": workflow_id}, indent=None)
            else:
                console().print(workflow_id)
            if watch_it:
                await _watch_to_the_end(client, workflow_id, as_json=as_json)

    _run_interruptibly(run)


def watch(
    workflow_id: WorkflowId,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Follow a workflow to its end, stage by stage, then print its outputs; ends with 1 if it did not succeed."""

    async def run(on_id: Callable[[str], None]) -> None:
        async with _client(server) as client:
            found = await full_id(client, workflow_id)
            on_id(found)
            await _watch_to_the_end(client, found, as_json=as_json)

    _run_interruptibly(run)


def show(
    workflow_id: WorkflowId,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Show one workflow: its stages, why they wait or failed, their attempts, places, and lengths against forecasts."""
    from maestro_services.cli.workflow_view import workflow_view

    async def run() -> WorkflowStatus:
        async with _client(server) as client:
            return await client.get(await full_id(client, workflow_id))

    found = asyncio.run(run())
    emit(found, as_json=as_json, view=workflow_view(found, time.time()))


def cancel(
    workflow_id: WorkflowId,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Cancel what has not ended of a workflow; one that has ended keeps its state."""

    async def run() -> tuple[str, WorkflowState]:
        async with _client(server) as client:
            found = await full_id(client, workflow_id)
            return found, await client.cancel(found)

    found, state = asyncio.run(run())
    emit({"workflow_id": found, "state": state}, as_json=as_json, view=f"{found}: {state}")


def complete(
    workflow_id: WorkflowId,
    stage_id: Annotated[str, typer.Argument(metavar="STAGE", help="The tool stage's id.")],
    output: Annotated[str | None, typer.Option(help="The tool's result, which later stages may quote.")] = None,
    error: Annotated[str | None, typer.Option(help="Why the tool failed; the stage then fails for good.")] = None,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """End a tool stage with its output or its error."""

    async def run() -> str:
        async with _client(server) as client:
            found = await full_id(client, workflow_id)
            await client.complete_stage(found, stage_id, output=output, error=error)
            return found

    found = asyncio.run(run())
    ended = "completed" if error is None else "failed"
    emit({"workflow_id": found, "stage_id": stage_id, "state": ended}, as_json=as_json, view=f"{stage_id}: {ended}")


def _client(server: str) -> AsyncClient:
    from maestro.client import AsyncClient

    return AsyncClient(server)


def _run_interruptibly(run: Callable[[Callable[[str], None]], Coroutine[None, None, None]]) -> None:
    """Run what follows a workflow; ends with 130, and says what the workflow does, where Ctrl-C breaks it off.

    ``run`` tells the workflow's id to what it is given, as soon as it knows it.
    """
    known: list[str] = []
    try:
        asyncio.run(run(known.append))
    except KeyboardInterrupt:
        for workflow_id in known:
            notices().print(
                f"{workflow_id} goes on; follow it: maestro watch {workflow_id}, end it: maestro cancel {workflow_id}",
                soft_wrap=True,
            )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


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
    result.checked()


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
