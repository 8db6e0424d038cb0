"""``maestro trace check``: what it tells of a good trace, and how it refuses a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maestro_services.cli.main import app

LINE = {"workflow_id": "a", "app": "x", "role": "r", "step": 0, "prompt_tokens": 100, "completion_tokens": 20}


def trace(folder: Path, *lines: dict[str, object]) -> str:
    file = folder / "trace.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return str(file)


def test_a_good_trace_is_summed_up(tmp_path: Path) -> None:
    file = trace(tmp_path, LINE, {**LINE, "step": 1, "parents": [0], "completion_tokens": 40})
    result = CliRunner().invoke(app, ["trace", "check", file, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["workflows"], found["calls"]) == (1, 2)
    assert found["roles"][0]["mean_completion_tokens"] == 30


@pytest.mark.parametrize(
    "line",
    [
        {**LINE, "step": 0, "parents": [0]},
        {**LINE, "parents": [7]},
        {**LINE, "start": -1.0},
        {name: value for name, value in LINE.items() if name != "prompt_tokens"},
    ],
    ids=["cycle", "unknown parent", "negative time", "missing field"],
)
def test_a_bad_trace_is_refused_by_file_and_line(tmp_path: Path, line: dict[str, object]) -> None:
    result = CliRunner().invoke(app, ["trace", "check", trace(tmp_path, line)])
    assert result.exit_code == 2
    assert "trace.jsonl:1" in result.output
