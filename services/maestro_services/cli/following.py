"""Follows workflows to their end and shows them meanwhile: a live table on a terminal, lines anywhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from maestro.errors import MaestroError
from maestro.events import StageChanged
from maestro.status import StageState, WorkflowState
from maestro_services.cli.board import Board
from maestro_services.cli.board_view import board_table, event_line, waiting_line
from maestro_services.cli.output import emit_json
from maestro_services.cli.waiting_news import keep_asking

if TYPE_CHECKING:
    from rich.console import Console

    from maestro.client import AsyncClient
    from maestro.events import Event
    from maestro.status import StageStatus

_FRAME_S = 0.25
_OnEvent = Callable[[str, "Event"], None]


async def follow(client: AsyncClient, board: Board, console: Console, *, as_json: bool = False) -> None:
    """Show the board's workflows until all have ended; they are then on the board with their outputs.

    The table begins with what the board shows. Lines, and with ``as_json`` lines of JSON, tell all from the beginning.
    """
    if as_json:
        await _follow_all(client, board, _print_json, replay=True)
    elif console.is_terminal:
        async with _live_table(board, console), _asking(client, board, lambda _workflow_id, _stage: None):
            await _follow_all(client, board, board.apply, replay=False)
    else:

        def tell(workflow_id: str, stage: StageStatus) -> None:
            console.print(waiting_line(board, workflow_id, stage), soft_wrap=True)

        async with _asking(client, board, tell):
            await _follow_all(client, board, _line_printer(board, console), replay=True)


@asynccontextmanager
async def _asking(client: AsyncClient, board: Board, tell: Callable[[str, StageStatus], None]) -> AsyncIterator[None]:
    """Ask why stages wait for as long as the block runs."""
    asking = asyncio.create_task(keep_asking(client, board, tell))
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def _follow_all(client: AsyncClient, board: Board, on_event: _OnEvent, *, replay: bool) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for workflow_id in board.workflows:
                group.create_task(_follow_one(client, board, workflow_id, on_event, replay))
    except* MaestroError as errors:
        raise errors.exceptions[0] from None


async def _follow_one(client: AsyncClient, board: Board, workflow_id: str, on_event: _OnEvent, replay: bool) -> None:
    """Pass on all events, or those after the state that the board shows; then put up the final state."""
    known = board.workflows[workflow_id]
    if replay or known.state is WorkflowState.ACTIVE:
        after_sequence = 0 if replay else known.sequence
        async for event in client.watch(workflow_id, after_sequence=after_sequence, tokens=True):
            on_event(workflow_id, event)
    board.put(await client.get(workflow_id))


@asynccontextmanager
async def _live_table(board: Board, console: Console) -> AsyncIterator[None]:
    """Show the board as a table, drawn anew a few times a second; the last state stays on the screen."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:

        async def keep_drawing() -> None:
            while True:
                live.update(board_table(board, time.time(), console.height), refresh=True)
                await asyncio.sleep(_FRAME_S)

        drawing = asyncio.create_task(keep_drawing())
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            live.update(board_table(board, time.time(), height=None))  # drawn in full when the block is left


def _line_printer(board: Board, console: Console) -> _OnEvent:
    """Print events as lines; a stage that runs already when it is first watched says for how long it has."""
    running = {
        (workflow_id, stage.id, stage.started_at_s)
        for workflow_id, status in board.workflows.items()
        for stage in status.stages
        if stage.state is StageState.RUNNING
    }

    def runs_on(workflow_id: str, event: Event) -> bool:
        if not isinstance(event, StageChanged) or event.status.state is not StageState.RUNNING:
            return False
        return (workflow_id, event.status.id, event.status.started_at_s) in running

    def show(workflow_id: str, event: Event) -> None:
        board.apply(workflow_id, event)
        line = event_line(board, workflow_id, event, time.time() if runs_on(workflow_id, event) else None)
        if line:
            console.print(line, soft_wrap=True)

    return show


def _print_json(workflow_id: str, event: Event) -> None:
    emit_json({"workflow_id": workflow_id, "kind": type(event).__name__, "event": event}, indent=None)
