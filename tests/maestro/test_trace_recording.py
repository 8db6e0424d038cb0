"""Recorded workflows: what becomes of them in a trace, and how a trace grows over interruptions."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_builders import llm, texts, workflow

from maestro.errors import InvalidInputError
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro.trace import Ending, TraceCall, TraceFile, read_trace, recorded_calls, trace_line
from maestro.workflow import ToolStage, WorkflowSpec

ACCEPTED_S = 1_700_000_000.0


def stage(name: str, ready: float, start: float, first: float, end: float, **changes: object) -> StageStatus:
    """A stage that has succeeded; instants count from the workflow's acceptance."""
    given = {
        "model": "m",
        "accelerator": "gpu-0",
        "usage": TokenUsage(30, 10),
        "output": f"output of {name}",
        "finish_reason": "stop",
        "ready_at_s": ACCEPTED_S + ready,
        "started_at_s": ACCEPTED_S + start,
        "first_token_at_s": ACCEPTED_S + first,
        "ended_at_s": ACCEPTED_S + end,
    }
    return StageStatus(name, StageState.SUCCEEDED, **{**given, **changes})  # type: ignore[arg-type]


def tool(name: str, ready: float, end: float) -> StageStatus:
    """A tool that has ended: it used no engine."""
    return stage(name, ready, ready, ready, end, usage=None, model="", accelerator="", first_token_at_s=None)


def calls_of(spec: WorkflowSpec, *stages: StageStatus, texts: bool = True) -> tuple[TraceCall, ...]:
    """The calls of a workflow that was accepted five seconds after the trace began."""
    state = WorkflowState.SUCCEEDED
    status = WorkflowStatus("w", "t", spec.app, "standard", state, ACCEPTED_S, ACCEPTED_S + 60, stages=stages)
    return recorded_calls(spec, status, trace_start_s=ACCEPTED_S - 5, texts=texts)


def test_a_call_has_its_instants_from_the_start_of_its_workflow() -> None:
    """Tests queueing, first token and end, and where the workflow stands in the trace."""
    (call,) = calls_of(workflow(llm("a", role="writer", phase="draft")), stage("a", 0.0, 2.0, 2.5, 6.0))
    assert (call.role, call.phase, call.model, call.accelerator) == ("writer", "draft", "m", "gpu-0")
    assert (call.ready_s, call.start_s, call.first_token_s, call.latency_s) == (0.0, 2.0, 2.5, 4.0)
    assert (call.arrival_s, call.slo_class, call.ending) == (5.0, "standard", Ending.STOP)
    assert (call.prompt_tokens, call.completion_tokens, call.max_tokens) == (30, 10, 10)


def test_parents_are_steps_of_earlier_calls_in_whatever_order_stages_were_submitted() -> None:
    """Tests a diamond that is submitted backwards."""
    spec = workflow(llm("join", "left", "right"), llm("right", "plan"), llm("left", "plan"), llm("plan"))
    stages = [stage(name, 0, 0, 1, 2) for name in ("join", "right", "left", "plan")]
    parents = {call.step: call.parents for call in calls_of(spec, *stages)}
    assert parents == {0: (), 1: (0,), 2: (0,), 3: (1, 2)}


def test_a_tool_becomes_a_pause_before_the_call_that_waits_for_it() -> None:
    """Tests a tool between two calls and one at the beginning."""
    spec = workflow(ToolStage("fetch", "http"), llm("a", "fetch"), ToolStage("run", "shell", ("a",)), llm("b", "run"))
    first, second = calls_of(
        spec, tool("fetch", 0, 3), stage("a", 3, 3, 4, 5), tool("run", 5, 9), stage("b", 9, 9, 10, 12)
    )
    assert (first.parents, first.think_time_s) == ((), 3.0)
    assert (second.parents, second.think_time_s) == ((0,), 4.0)


def test_a_stage_without_a_result_is_no_call() -> None:
    """Tests a workflow that ended before its last stage ran."""
    spec = workflow(llm("a"), llm("b", "a"))
    assert [call.step for call in calls_of(spec, stage("a", 0, 0, 1, 2))] == [0]


def test_heads_show_what_a_prompt_quoted_and_can_be_left_out() -> None:
    """Tests that nothing of a text is kept where that is not wanted, its length as an output aside."""
    spec = workflow(llm("a", content="The task."), llm("b", "a", content="Improve: {{a.output}}"))
    stages = stage("a", 0, 0, 1, 2), stage("b", 2, 2, 3, 4)
    _, second = calls_of(spec, *stages)
    assert (second.prompt_head, second.task) == ("Improve: output of a", "The task.")
    lines = "".join(trace_line(call) for call in calls_of(spec, *stages, texts=False))
    assert "task" not in lines
    assert "output of" not in lines


def test_a_clock_that_was_set_back_leaves_a_trace_that_can_be_read(tmp_path: Path) -> None:
    """Tests that no instant is negative."""
    calls = calls_of(workflow(llm("a")), stage("a", -1.0, -0.5, -0.2, 3.0))
    assert written(tmp_path / "t.jsonl", calls) == calls


seconds = st.none() | st.integers(0, 10**6).map(lambda milliseconds: milliseconds / 1000)
calls = st.builds(
    TraceCall,
    workflow_id=st.just("w"),
    app=st.just("a"),
    step=st.just(0),
    role=texts,
    phase=texts,
    model=texts,
    prompt_tokens=st.integers(0, 1 << 20),
    completion_tokens=st.integers(0, 1 << 20),
    start_s=seconds,
    latency_s=seconds,
    arrival_s=seconds,
    think_time_s=seconds,
    prompt_head=texts,
    task=texts,
    ending=st.sampled_from(Ending),
    max_tokens=st.none() | st.integers(1, 4096),
    ready_s=seconds,
    first_token_s=seconds,
    accelerator=texts,
    slo_class=texts,
)


@given(call=calls)
def test_a_written_call_is_read_as_it_was(call: TraceCall, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests every field, also where texts hold ends of lines."""
    assert written(tmp_path_factory.mktemp("trace") / "t.jsonl", (call,)) == (call,)


def written(path: Path, calls: tuple[TraceCall, ...]) -> tuple[TraceCall, ...]:
    """The calls as they are read again."""
    with TraceFile(path) as trace:
        trace.append(calls, 1)
    return read_trace(path)


def call_of(workflow_id: str, step: int = 0) -> TraceCall:
    return TraceCall(workflow_id, "a", step, "r", "", "m", 10, 5)


def test_a_trace_that_was_cut_in_a_line_goes_on_at_the_workflow_that_was_being_written(tmp_path: Path) -> None:
    """Tests that the last workflow is dropped and named, whole or not, and that the ones before it stay."""
    path = tmp_path / "t.jsonl"
    with TraceFile(path) as trace:
        trace.append((call_of("one"),), 3)
        trace.append((call_of("two"), call_of("two", 1)), 8)
    path.write_bytes(path.read_bytes()[:-20])
    with TraceFile(path) as trace:
        assert trace.last is not None
        assert (trace.last.workflow_id, trace.last.sequence) == ("two", 8)
        trace.append((call_of("two"), call_of("two", 1)), 8)
    assert [(call.workflow_id, call.step) for call in read_trace(path)] == [("one", 0), ("two", 0), ("two", 1)]


@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=5), cut=st.floats(0, 1))
def test_a_recording_that_was_cut_anywhere_ends_up_as_if_it_had_not_been(
    lengths: list[int], cut: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests every place where an interruption can leave the file: each workflow is there once, and whole."""
    path = tmp_path_factory.mktemp("cut") / "t.jsonl"
    ended = {2 * number + 1: [call_of(f"w{number}", step) for step in range(n)] for number, n in enumerate(lengths)}
    with TraceFile(path) as trace:
        for sequence, found in ended.items():
            trace.append(found, sequence)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(cut * len(whole))])
    with TraceFile(path) as trace:
        first = trace.last.sequence if trace.last is not None else 0
        for sequence, found in ended.items():
            if sequence >= first:
                trace.append(found, sequence)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        "hello\n",
        '{"workflow_id": "w"}\n',
        trace_line(call_of("w")) + "\n",
        "[1]\n",
        '{"workflow_id":1,"sequence":"a"}\n',
    ],
    ids=["text", "no sequence", "another trace", "list", "sequence of letters"],
)
def test_a_file_that_no_recorder_wrote_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    """Tests that nothing of somebody's file is lost."""
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match="no recorder wrote"):
        TraceFile(path)
    assert path.read_text() == content


@pytest.mark.parametrize("name", ["missing/t.jsonl", "t.jsonl.gz", ".", "/dev/full"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    """Tests a folder that is not there, a compressed file, a folder, and a device."""
    with pytest.raises(InvalidInputError, match="out"):
        TraceFile(tmp_path / name)


def test_a_disk_that_takes_no_more_is_said_in_words_and_what_is_there_is_gone_on_with(tmp_path: Path) -> None:
    """Tests a file that may not grow any further."""
    path = tmp_path / "t.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TraceFile(path) as trace:
        trace.append((call_of("one"),), 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
        try:
            with pytest.raises(InvalidInputError, match="File too large"):
                trace.append((call_of("two"),), 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with TraceFile(path) as trace:
        assert trace.last is not None
        assert trace.last.workflow_id == "one"
        trace.append((call_of("one"),), 1)
    assert [call.workflow_id for call in read_trace(path)] == ["one"]
