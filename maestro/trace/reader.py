"""Reads traces: JSON lines, plain or gzip, one LLM call each."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro.trace.call import Ending, TraceCall
from maestro.trace.fields import TraceLine

_ENDINGS = {
    "stop": Ending.STOP,
    "end_turn": Ending.STOP,
    "stop_sequence": Ending.STOP,
    "tool_calls": Ending.TOOL_CALL,
    "tool_use": Ending.TOOL_CALL,
    "length": Ending.CUT,
    "max_tokens": Ending.CUT,
    "cancelled": Ending.CUT,
    "abort": Ending.CUT,
}


def read_trace(path: Path) -> tuple[TraceCall, ...]:
    """Return the calls of a file, in its order.

    Empty lines are skipped and fields that are not known are ignored. A parent may stand after its child, as where
    a session waits for agents that were recorded later. Raises InvalidInputError for a file that is missing, not
    JSON lines or truncated, a value that cannot be used, a step that stands twice in one workflow, or parents that
    are not in the workflow or form a cycle; the error names file, line and field.
    """
    calls: list[TraceCall] = []
    lines: dict[str, dict[int, TraceLine]] = {}
    parents: dict[str, dict[int, tuple[int, ...]]] = {}
    for line in _lines(path):
        call = _call(line)
        seen = lines.setdefault(call.workflow_id, {})
        if call.step in seen:
            raise line.invalid("step", f'stands twice in workflow "{call.workflow_id}"', call.step)
        seen[call.step] = line.without_values()
        parents.setdefault(call.workflow_id, {})[call.step] = call.parents
        calls.append(call)
    for workflow_id, seen in lines.items():
        _check_parents(seen, parents[workflow_id])
    return tuple(calls)


def read_traces(paths: Iterable[Path]) -> tuple[TraceCall, ...]:
    """Return the calls of several files, one file after the other; errors as for ``read_trace``.

    Raises InvalidInputError also where a workflow stands in two files, or where there is no call at all.
    """
    calls: list[TraceCall] = []
    owners: dict[str, Path] = {}
    for path in paths:
        for call in read_trace(path):
            if owners.setdefault(call.workflow_id, path) != path:
                raise InvalidInputError(
                    str(path),
                    f"holds a workflow that also stands in {owners[call.workflow_id]}",
                    value=call.workflow_id,
                    remedy="give each file once, and each workflow an id of its own",
                )
            calls.append(call)
    if not calls:
        raise InvalidInputError("trace", "holds no call", remedy="give a file with at least one line")
    return tuple(calls)


def _check_parents(lines: Mapping[int, TraceLine], parents: Mapping[int, tuple[int, ...]]) -> None:
    """Refuse parents of one workflow's steps that do not exist or come round to their own child."""
    for step, before in parents.items():
        missing = [parent for parent in before if parent not in lines]
        if missing:
            raise lines[step].invalid("parents", "names steps that are not in the workflow", missing)
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        cycle: list[int] = error.args[1]
        raise lines[cycle[0]].invalid("parents", "form a cycle", cycle) from None


def _lines(path: Path) -> Iterator[TraceLine]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parsed(f"{path}:{number}", line)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(
            str(path), f"cannot be read: {_why(error)}", remedy="give a whole file of JSON lines, plain or .gz"
        ) from error


def _why(error: OSError | EOFError | zlib.error) -> str:
    """Say why a file cannot be read, without what the path tells already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it ends too early" if isinstance(error, EOFError) else "it is not gzip, or damaged"


def _parsed(place: str, line: bytes) -> TraceLine:
    remedy = "mend or remove the line"
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text ({error.reason} at byte {error.start})"
        raise InvalidInputError(place, problem, remedy=remedy) from error
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at column {error.colno}"
        raise InvalidInputError(place, problem, value=text, remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        problem = "holds a number of too many digits, or is nested too deeply"
        raise InvalidInputError(place, problem, value=text, remedy=remedy) from error
    if not isinstance(values, dict):
        raise InvalidInputError(place, "must be a JSON object", value=values, remedy="mend or remove the line")
    return TraceLine(place, values)


def _call(line: TraceLine) -> TraceCall:
    return TraceCall(
        workflow_id=line.text("workflow_id"),
        app=line.text("app"),
        step=line.count("step"),
        role=line.text("role", default=""),
        phase=line.text("phase", default=""),
        model=line.text("model", default=""),
        prompt_tokens=line.count("prompt_tokens"),
        completion_tokens=line.count("completion_tokens"),
        parents=line.steps("parents"),
        source=line.text("source", default=""),
        start_s=line.optional_seconds("start"),
        latency_s=line.optional_seconds("latency_s"),
        arrival_s=line.optional_seconds("arrival"),
        think_time_s=line.optional_seconds("think_time"),
        prompt_head=line.text("prompt_head", default=""),
        prompt_chars=line.optional_count("prompt_chars"),
        response_chars=line.optional_count("response_chars"),
        task=line.text("task_head", default=""),
        task_id=line.text("task_id", default=""),
        ending=_ENDINGS.get(line.text("finish", default=""), Ending.UNKNOWN),
        max_tokens=line.optional_count("max_tokens"),
        ready_s=line.optional_seconds("ready"),
        first_token_s=line.optional_seconds("first_token"),
        accelerator=line.text("accelerator", default=""),
        slo_class=line.text("slo_class", default=""),
    )
