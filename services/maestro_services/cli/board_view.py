"""Shows a board: as one table that fits the terminal, or as a line for each event where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from maestro.events import Event, StageChanged, StageRestarted, WorkflowChanged
from maestro.fleet import place_text
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus
from maestro_services.cli.board import Board, Phase, StageRow, phase_of

_STYLES = {
    Phase.WAITING: "dim",
    Phase.LOADING: "yellow",
    Phase.RUNNING: "cyan",
    Phase.DONE: "green",
    Phase.FAILED: "bold red",
    Phase.CANCELLED: "magenta",
}
_COLUMNS = ("workflow", "stage", "role", "model", "where", "state", "tokens", "predicted p50/p95")
_FRESH_S = 0.05  # a stage that has just begun has run for no time worth telling
_FRAME_LINES = 6  # title, borders, heading, and the prompt below
_Cells = tuple[str, ...]


def board_table(board: Board, now_s: float, height: int | None) -> Table:
    """Return the table of all stages at ``now_s`` (Unix time).

    Where ``height`` (of the terminal, in lines; None: endless) is too short for all, a workflow that has ended is one
    line, and of the others only stages are shown that could run or do.
    """
    lines = sum(len(status.stages) for status in board.workflows.values()) + _FRAME_LINES
    folded = height is not None and lines > height
    table = Table(*_COLUMNS, title=_headline(board), title_justify="left", expand=False)
    for workflow_id, status in board.workflows.items():
        if folded and status.state is not WorkflowState.ACTIVE:
            table.add_row(*_folded_row(board, status), style="dim")
            continue
        rows = (row for row in board.rows(workflow_id) if not folded or _is_of_interest(row.status))
        for index, row in enumerate(rows):
            title = board.title(workflow_id) if index == 0 else ""
            table.add_row(title, *_cells(row, now_s), style=_STYLES[phase_of(row.status)])
    return table


def event_line(board: Board, workflow_id: str, event: Event, now_s: float | None = None) -> str:
    """Return one line for a transition; empty for token events, which are too many to be lines.

    ``now_s`` (Unix time) is given for what lasts until now: how long is told then; by default it is the event's time.
    """
    title = board.title(workflow_id)
    match event:
        case WorkflowChanged(status=status):
            return f"{title}: {_workflow_text(status)}"
        case StageChanged(status=status):
            return f"{title}/{status.id} [{status.role}]: {_stage_line(status, event.at_s if now_s is None else now_s)}"
        case StageRestarted(stage_id=stage_id, reason=reason):
            return f"{title}/{stage_id}: is tried again ({reason})"
        case _:
            return ""


def waiting_line(board: Board, workflow_id: str, stage: StageStatus) -> str:
    """Return one line for a stage that waits: what for, and how far that is."""
    return f"{board.title(workflow_id)}/{stage.id} [{stage.role}]: {_waiting_text(stage)}"


def _is_of_interest(stage: StageStatus) -> bool:
    """Tell whether the stage could run or does."""
    return not stage.state.final and stage.reason is not Reason.WAITING_FOR_PREDECESSORS


def _headline(board: Board) -> str:
    """Count workflows and stages by where they are."""
    phases = [phase_of(stage) for status in board.workflows.values() for stage in status.stages]
    counted = ", ".join(f"{phases.count(phase)} {phase}" for phase in Phase if phase in phases)
    ended = sum(status.state is not WorkflowState.ACTIVE for status in board.workflows.values())
    return f"{ended} of {len(board.workflows)} workflows ended; stages: {counted or 'none'}"


def _cells(row: StageRow, now_s: float) -> Iterator[str]:
    stage = row.status
    yield stage.id
    yield stage.role
    yield stage.model
    yield place_text(stage.accelerator, *stage.peers)
    yield _state_text(stage, now_s)
    yield _tokens_text(row)
    yield _forecast_text(stage)


def _folded_row(board: Board, status: WorkflowStatus) -> _Cells:
    """Return one line for a workflow that has ended."""
    tokens = sum(stage.usage.completion_tokens for stage in status.stages if stage.usage)
    return (board.title(status.id), f"{len(status.stages)} stages", "", "", "", _workflow_text(status), str(tokens), "")


def _stage_line(stage: StageStatus, now_s: float) -> str:
    placed = f" as {stage.model} on {place_text(stage.accelerator, *stage.peers)}" if stage.accelerator else ""
    return f"{_state_text(stage, now_s)}{placed}{_usage_text(stage)}"


def _usage_text(stage: StageStatus) -> str:
    if stage.usage is None:
        return ""
    return f", {stage.usage.completion_tokens} tokens (predicted p50/p95 {_forecast_text(stage)})"


def _state_text(stage: StageStatus, now_s: float) -> str:
    """Return the phase with its reason, and the seconds it took or takes so far."""
    phase = phase_of(stage)
    if phase in (Phase.WAITING, Phase.LOADING):
        return _waiting_text(stage)
    if phase in (Phase.FAILED, Phase.CANCELLED) and stage.reason is not None:
        return f"{phase}: {_reason_text(stage.reason)}"
    if stage.state in (StageState.RUNNING, StageState.SUCCEEDED) and stage.started_at_s is not None:
        until_s = stage.ended_at_s if stage.ended_at_s is not None else now_s
        took_s = max(0.0, until_s - stage.started_at_s)
        begins = stage.state is StageState.RUNNING and took_s < _FRESH_S
        return str(phase) if begins else f"{phase} {took_s:.1f} s"
    return str(phase)


def _waiting_text(stage: StageStatus) -> str:
    """Return what the stage waits for; the load of a model is told in full by the scheduler."""
    if stage.detail and phase_of(stage) is Phase.LOADING:
        return stage.detail
    if stage.reason is None:
        return str(phase_of(stage))
    detail = f" ({stage.detail})" if stage.detail else ""
    return f"waiting: {_reason_text(stage.reason)}{detail}"


def _reason_text(reason: Reason) -> str:
    return reason.removeprefix("waiting_for_").replace("_", " ")


def _tokens_text(row: StageRow) -> str:
    if row.status.usage is not None:
        return str(row.status.usage.completion_tokens)
    return f"~{row.streamed_pieces}" if row.streamed_pieces else ""


def _forecast_text(stage: StageStatus) -> str:
    if stage.forecast is None:
        return ""
    return f"{stage.forecast.p50_tokens:.0f}/{stage.forecast.p95_tokens:.0f}"


def _workflow_text(status: WorkflowStatus) -> str:
    if status.state is WorkflowState.ACTIVE or status.ended_at_s is None:
        return str(status.state)
    took = f"{status.state} in {status.ended_at_s - status.accepted_at_s:.1f} s"
    if status.state is not WorkflowState.SUCCEEDED:
        return f"{took} ({status.reason or status.detail or 'no reason given'})"
    return f"{took}, deadline {'met' if status.met_deadline else 'missed'}"
