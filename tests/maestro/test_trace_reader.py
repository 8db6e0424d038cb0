"""Tests that traces are read whole, and that what cannot be used is refused by file, line and field."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from maestro.costs import LengthOutcome
from maestro.errors import InvalidInputError
from maestro.trace import Ending, read_trace, read_traces


def line(**changes: Any) -> dict[str, Any]:
    values = {
        "workflow_id": "w1",
        "app": "chatdev",
        "step": 0,
        "parents": [],
        "role": "Programmer",
        "phase": "Coding",
        "model": "m",
        "prompt_tokens": 500,
        "completion_tokens": 900,
    }
    return {key: value for key, value in (values | changes).items() if value is not ...}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    text = "".join(json.dumps(one) + "\n" for one in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_calls_come_in_file_order_with_all_that_was_recorded(tmp_path: Path, name: str) -> None:
    """Tests plain and gzip files."""
    recorded = line(step=1, parents=[0], finish="end_turn", latency_s=2, start=1.5, task_head="a game", think_time=3)
    first, second = read_trace(written(tmp_path / name, line(finish="tool_calls"), recorded))
    assert (first.step, first.ending, first.parents) == (0, Ending.TOOL_CALL, ())
    assert (second.parents, second.ending, second.latency_s, second.start_s) == ((0,), Ending.STOP, 2.0, 1.5)
    assert (second.task, second.think_time_s, second.prompt_head, second.max_tokens) == ("a game", 3.0, "", None)


@pytest.mark.parametrize("finish", ["length", "max_tokens", "cancelled", "abort"])
def test_an_output_that_was_cut_is_censored(tmp_path: Path, finish: str) -> None:
    """Tests that such a length is known to be a lower bound."""
    (call,) = read_trace(written(tmp_path / "t.jsonl", line(finish=finish)))
    assert call.outcome is LengthOutcome.CENSORED


def test_a_missing_or_new_finish_says_nothing(tmp_path: Path) -> None:
    """Tests that unknown endings are no error."""
    calls = read_trace(written(tmp_path / "t.jsonl", line(finish=None), line(step=1, finish="content_filter")))
    assert [call.ending for call in calls] == [Ending.UNKNOWN, Ending.UNKNOWN]


def test_text_may_be_missing_and_names_null(tmp_path: Path) -> None:
    """Tests a request log without phases, models and text."""
    (call,) = read_trace(
        written(tmp_path / "t.jsonl", line(phase=None, model=None, role=..., parents=..., arrival=0.25))
    )
    assert (call.role, call.phase, call.model, call.arrival_s) == ("", "", "", 0.25)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"completion_tokens": -1}, "completion_tokens"),
        ({"completion_tokens": float("nan")}, "completion_tokens"),
        ({"completion_tokens": 1 << 40}, "completion_tokens"),
        ({"completion_tokens": 3.5}, "completion_tokens"),
        ({"completion_tokens": ...}, "completion_tokens"),
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"latency_s": float("inf")}, "latency_s"),
        ({"start": -0.5}, "start"),
        ({"workflow_id": ""}, "workflow_id"),
        ({"app": None}, "app"),
        ({"role": 7}, "role"),
        ({"parents": [0.5]}, "parents"),
        ({"parents": [17]}, "parents"),
        ({"parents": [1]}, "parents"),
        ({"step": 0}, "step"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    """Tests that the error holds file, line and field, and a remedy."""
    path = written(tmp_path / "t.jsonl", line(), line(**{"step": 1, **changes}))
    with pytest.raises(InvalidInputError) as caught:
        read_trace(path)
    assert caught.value.field == f"{path}:2.{field}"
    assert caught.value.remedy


def test_parents_that_come_round_to_their_child_are_refused(tmp_path: Path) -> None:
    """Tests that a parent may stand later in the file, but not in a circle."""
    later = (line(parents=[1]), line(step=1))
    assert len(read_trace(written(tmp_path / "later.jsonl", *later))) == 2
    circle = (line(parents=[1]), line(step=1, parents=[0]))
    with pytest.raises(InvalidInputError, match="form a cycle"):
        read_trace(written(tmp_path / "circle.jsonl", *circle))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"\xff\xfe", r"t\.jsonl:1: is not UTF-8 text"),
    ],
)
def test_a_line_that_is_no_call_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """Tests broken lines."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=problem):
        read_trace(path)


def test_a_truncated_or_missing_file_is_named(tmp_path: Path) -> None:
    """Tests half a gzip file, and none."""
    whole = written(tmp_path / "t.jsonl.gz", *(line(step=step) for step in range(200)))
    whole.write_bytes(whole.read_bytes()[:-20])
    for path in (whole, tmp_path / "none.jsonl"):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read_trace(path)


def test_several_files_are_one_trace_with_workflows_of_their_own(tmp_path: Path) -> None:
    """Tests that a workflow is never taken for another's continuation, and that nothing is no trace."""
    first, second = written(tmp_path / "a.jsonl", line()), written(tmp_path / "b.jsonl", line(workflow_id="w2"))
    assert [call.workflow_id for call in read_traces([first, second])] == ["w1", "w2"]
    with pytest.raises(InvalidInputError, match="also stands in"):
        read_traces([first, written(tmp_path / "c.jsonl", line(step=1))])
    with pytest.raises(InvalidInputError, match="holds no call"):
        read_traces([written(tmp_path / "empty.jsonl")])
