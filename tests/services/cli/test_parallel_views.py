"""Claims about what commands show of a model that takes several accelerators at once."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from maestro.events import StageChanged
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus
from maestro_services.cli.board import Board
from maestro_services.cli.board_view import event_line
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.main import app

SCENARIOS = Path(__file__).parents[3] / "scenarios"


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


def test_a_capacity_plan_names_all_accelerators_of_a_replica() -> None:
    """Tests `maestro solve` on the shipped scenario with such a model."""
    shown = run("solve", SCENARIOS / "one_node_8x80gb.yaml", "--budget", 8)
    assert shown.exit_code == ExitCode.SUCCESS
    assert "gpu-0+gpu-1+gpu-2+gpu-3" in shown.stdout
    assert "6 of 8 accelerators" in shown.stdout


def test_a_plan_names_all_accelerators_of_a_place(tmp_path: Path) -> None:
    """Tests `maestro plan` on a snapshot of such models."""
    (tmp_path / "snapshot.json").write_text(run("snapshot", "generate", "--family", "tensor-parallel").stdout)
    shown = run("plan", tmp_path / "snapshot.json", "--policy", "edf", "--limit", 1)
    assert shown.exit_code == ExitCode.SUCCESS
    assert any("+" in line and "stays" in line for line in shown.stdout.splitlines())


def test_the_board_tells_all_accelerators_that_a_stage_runs_on() -> None:
    """Tests the line of an event."""
    status = StageStatus("draft", StageState.SUCCEEDED, model="big", accelerator="gpu-0", peers=("gpu-1",))
    board = Board()
    board.put(WorkflowStatus("w1", "default", "app", "standard", WorkflowState.ACTIVE, 99.0, 900.0, stages=(status,)))
    line = event_line(board, "w1", StageChanged(1, 100.0, status))
    assert "as big on gpu-0+gpu-1" in line
