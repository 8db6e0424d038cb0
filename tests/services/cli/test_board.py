"""Claims about the live table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from maestro.costs import LengthForecast
from maestro.events import StageChanged, StageRestarted, StageTokens, WorkflowChanged
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro_services.cli.board import Board, Phase, phase_of
from maestro_services.cli.board_view import board_table, event_line, waiting_line

WAITING = StageStatus("draft", StageState.WAITING, reason=Reason.WAITING_FOR_KV, role="writer")
RUNNING = replace(
    WAITING, state=StageState.RUNNING, reason=None, model="small", accelerator="gpu-0", started_at_s=100.0
)
DONE = replace(
    RUNNING,
    state=StageState.SUCCEEDED,
    reason=Reason.COMPLETED,
    ended_at_s=103.5,
    usage=TokenUsage(prompt_tokens=20, completion_tokens=64),
    forecast=LengthForecast(50.0, 90.0, 120.0),
)
ACTIVE = WorkflowStatus("w1", "default", "app", "standard", WorkflowState.ACTIVE, 99.0, 200.0, stages=(WAITING,))


@pytest.fixture
def board() -> Board:
    found = Board()
    found.put(ACTIVE, "first")
    return found


def shown(board: Board, height: int | None = None) -> str:
    console = Console(width=160, record=True, file=None, markup=False)
    with console.capture() as capture:
        console.print(board_table(board, 102.0, height))
    return capture.get()


def test_a_waiting_stage_says_what_it_waits_for(board: Board) -> None:
    """Tests that the typed reason reaches the screen."""
    assert "waiting: kv" in shown(board)


def test_a_stage_that_waits_for_its_model_is_loading() -> None:
    """Tests that the load of a model is a phase of its own."""
    assert phase_of(replace(WAITING, reason=Reason.WAITING_FOR_LOAD)) is Phase.LOADING


def test_a_running_stage_shows_where_it_runs_for_how_long_and_its_pieces(board: Board) -> None:
    """Tests that token events are counted while no usage is known."""
    board.apply("w1", StageChanged(2, 100.0, RUNNING))
    for piece in range(3):
        board.apply("w1", StageTokens(101.0, "draft", "a1", piece, "x"))
    text = shown(board)
    assert "running 2.0 s" in text
    assert "gpu-0" in text
    assert "~3" in text


def test_a_finished_stage_shows_actual_beside_predicted(board: Board) -> None:
    """Tests that usage replaces the count of pieces."""
    board.apply("w1", StageTokens(101.0, "draft", "a1", 0, "x"))
    board.apply("w1", StageChanged(3, 103.5, DONE))
    text = shown(board)
    assert "done 3.5 s" in text
    assert "64" in text
    assert "50/120" in text
    assert "~1" not in text


def test_a_restart_voids_what_was_streamed(board: Board) -> None:
    """Tests that pieces of a lost attempt are not counted."""
    board.apply("w1", StageTokens(101.0, "draft", "a1", 0, "x"))
    board.apply("w1", StageRestarted(0, 102.0, "draft", "a1", Reason.ENGINE_DIED))
    assert [row.streamed_pieces for row in board.rows("w1")] == [0]


def test_the_end_of_a_workflow_keeps_its_stages(board: Board) -> None:
    """Tests that events about the workflow, which carry no stages, do not wipe them."""
    ended = replace(ACTIVE, stages=(), state=WorkflowState.SUCCEEDED, ended_at_s=150.0)
    board.apply("w1", WorkflowChanged(5, 150.0, ended))
    assert board.all_ended
    assert [row.status.id for row in board.rows("w1")] == ["draft"]


def test_ended_workflows_fold_where_the_terminal_is_short(board: Board) -> None:
    """Tests that what still runs stays on the screen."""
    ended = replace(ACTIVE, id="w2", state=WorkflowState.SUCCEEDED, ended_at_s=150.0, stages=(DONE,) * 3)
    board.put(ended, "second")
    assert "succeeded in 51.0 s, deadline met" in shown(board, height=8)
    assert "succeeded in" not in shown(board, height=50)


def test_stages_that_cannot_run_yet_give_way_where_the_terminal_is_short(board: Board) -> None:
    """Tests that a short terminal shows what runs or could, and a long one shows all."""
    blocked = replace(WAITING, id="final", reason=Reason.WAITING_FOR_PREDECESSORS)
    board.put(replace(ACTIVE, stages=(DONE, replace(RUNNING, id="middle"), blocked)))
    assert "final" not in shown(board, height=5)
    assert "draft" not in shown(board, height=5)
    assert "middle" in shown(board, height=5)
    assert all(stage in shown(board) for stage in ("draft", "middle", "final"))


def test_lines_name_workflow_stage_and_reason(board: Board) -> None:
    """Tests what is printed where there is no terminal."""
    assert event_line(board, "w1", StageChanged(2, 100.0, WAITING)) == "first/draft [writer]: waiting: kv"
    assert "64 tokens (predicted p50/p95 50/120)" in event_line(board, "w1", StageChanged(3, 103.5, DONE))
    assert "engine_died" in event_line(board, "w1", StageRestarted(0, 102.0, "draft", "a1", Reason.ENGINE_DIED))
    assert event_line(board, "w1", StageTokens(101.0, "draft", "a1", 0, "x")) == ""


def test_a_load_is_told_in_full_once_it_was_asked_for(board: Board) -> None:
    """Tests that what no event tells reaches lines and table, and that a stage that went on stays as it is."""
    note = "waiting for small to load on gpu-0 (12 s of about 45 s)"
    asked = replace(ACTIVE, stages=(replace(WAITING, reason=Reason.WAITING_FOR_LOAD, detail=note),))
    (waiting,) = board.refresh(asked)
    assert waiting_line(board, "w1", waiting) == f"first/draft [writer]: {note}"
    assert note in shown(board)
    board.apply("w1", StageChanged(2, 100.0, RUNNING))
    assert board.refresh(asked) == ()
    assert "running 2.0 s" in shown(board)


def test_a_failed_attempt_says_why_the_stage_waits(board: Board) -> None:
    """Tests that the detail of a reason is told."""
    lost = replace(WAITING, reason=Reason.NODE_LOST, detail="not heard of for 10 s")
    assert waiting_line(board, "w1", lost) == "first/draft [writer]: waiting: node lost (not heard of for 10 s)"


def test_a_stage_that_begins_has_run_for_no_time_and_one_that_runs_on_says_how_long(board: Board) -> None:
    """Tests that 0.0 s is not told, neither of a start nor of a stage that began minutes ago."""
    began = StageChanged(2, 100.0, RUNNING)
    assert event_line(board, "w1", began) == "first/draft [writer]: running as small on gpu-0"
    assert event_line(board, "w1", began, 280.0) == "first/draft [writer]: running 180.0 s as small on gpu-0"


def test_a_failed_workflow_says_why(board: Board) -> None:
    """Tests that the reason is in the line."""
    failed = replace(ACTIVE, state=WorkflowState.FAILED, reason=Reason.RETRIES_EXHAUSTED, ended_at_s=120.0)
    assert "failed in 21.0 s (retries_exhausted)" in event_line(board, "w1", WorkflowChanged(6, 120.0, failed))
