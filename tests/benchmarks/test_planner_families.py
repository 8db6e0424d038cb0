"""The table of families: generated and recorded snapshots beside each other, each plan paired with the portfolio's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import families
import pytest

from maestro.snapshot_codec import snapshot_to_dict
from maestro_solver.planner.generate import generate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four recorded snapshots."""
    found = tmp_path / "some_trace"
    found.mkdir()
    for seed in range(4):
        snapshot = generate("small", 6, 2, seed)
        (found / f"{seed:06d}s.json").write_text(json.dumps(snapshot_to_dict(snapshot)))
    return found


def test_of_many_recorded_snapshots_some_are_taken_from_all_over_the_run(folder: Path) -> None:
    assert [name for name, _ in families.recorded(folder, 2)] == ["000000s", "000002s"]
    assert [snapshot for _, snapshot in families.recorded(folder, 9)] == [generate("small", 6, 2, s) for s in range(4)]


def test_a_folder_without_snapshots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no snapshots"):
        list(families.recorded(tmp_path, 2))


def test_every_family_and_limit_is_a_row_of_one_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--families", "small", "--stages", "6", "--accelerators", "2", "--seeds", "2"]
    command = ["families.py", *size, "--recorded", str(folder), "--limits", "0.1", "0.2", "--against", "edf"]
    monkeypatch.setattr(sys, "argv", command)
    assert families.main() == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells[2:]] == ["small, 0.1 s", "small, 0.2 s", "some_trace, 0.1 s", "some_trace, 0.2 s"]
    assert {row[1] for row in cells[2:]} == {"2"}
    assert {len(row) for row in cells} == {len(cells[0])}
    assert cells[0][2:4] == ["below the portfolio", "below edf"]
