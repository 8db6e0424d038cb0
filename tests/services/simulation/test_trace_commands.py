"""``maestro trace check``: what it tells of a good trace, and how it refuses a bad one."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maestro.trace import read_trace
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"app": "\xff"}', "a.jsonl:1: is not UTF-8 text (invalid start byte at byte 9)"),
        ("a.jsonl", b"\n{", "a.jsonl:2: is not JSON: Expecting property name"),
        ("a.jsonl", b"[" * 200_000, "a.jsonl:1: holds a number of too many digits, or is nested too deeply"),
        ("a.jsonl", b"1" * 5_000, "a.jsonl:1: holds a number of too many digits, or is nested too deeply"),
        ("a.jsonl.gz", b"not gzip", "a.jsonl.gz: cannot be read: it is not gzip, or damaged"),
        ("a.jsonl.gz", gzip.compress(b"\n" * 100)[:-9], "a.jsonl.gz: cannot be read: it ends too early"),
        ("missing/a.jsonl", None, "a.jsonl: cannot be read: No such file or directory;"),
    ],
    ids=["latin", "cut line", "deep", "long number", "no gzip", "cut gzip", "missing"],
)
@pytest.mark.parametrize("command", [("trace", "check"), ("predictor", "evaluate", "--trace")])
def test_what_cannot_be_read_is_said_in_words(
    command: tuple[str, ...], name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    """Tests that the path stands there once, and nothing of how this was found out."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(app, [*command, str(tmp_path / name)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count(str(tmp_path)) == 1
    assert "codec" not in result.stderr
    assert "Errno" not in result.stderr


def test_a_long_trace_takes_a_bounded_amount_of_memory_a_line(tmp_path: Path) -> None:
    """Tests that a million lines fit a gigabyte: each costs its call and what finds its place again, and no more."""
    count = 10_000
    lines = ({**LINE, "workflow_id": f"w{number // 5}", "step": number % 5} for number in range(count))
    file = Path(trace(tmp_path, *lines))
    tracemalloc.start()
    calls = read_trace(file)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(calls) == count
    assert peak_bytes / count < 1000
