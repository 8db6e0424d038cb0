"""Calls as lines of a trace: what ``maestro.trace.reader`` reads."""

from __future__ import annotations

import json
from dataclasses import fields

from maestro.trace.call import Ending, TraceCall

_NAMES = {
    "start_s": "start",
    "arrival_s": "arrival",
    "think_time_s": "think_time",
    "ready_s": "ready",
    "first_token_s": "first_token",
    "task": "task_head",
    "ending": "finish",
}
"""Names in a trace, where they are not those of ``TraceCall``'s fields."""

_ENDINGS = {Ending.STOP: "stop", Ending.TOOL_CALL: "tool_calls", Ending.CUT: "length", Ending.UNKNOWN: ""}


def trace_line(call: TraceCall, sequence: int | None = None) -> str:
    """Return one line of JSON, without an end of line, from which the reader makes an equal call.

    What is not known of the call stands nowhere in it. ``sequence`` is where a recorder was when it wrote the line.
    """
    values: dict[str, object] = {}
    for field in fields(call):
        value = _ENDINGS[call.ending] if field.name == "ending" else getattr(call, field.name)
        if value is not None and value not in ("", ()):
            values[_NAMES.get(field.name, field.name)] = value
    if sequence is not None:
        values["sequence"] = sequence
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
