"""Claims about docs/traces.md: it lists what a line can hold, and its example is a trace."""

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

from maestro.trace import Ending, TraceCall, read_trace
from maestro.trace.writer import trace_line

DOCS = Path(__file__).parents[2] / "docs"


def value_of(field):
    """Something that is known of a call."""
    if field.name == "ending":
        return Ending.STOP
    if field.name == "parents":
        return (0,)
    return "text" if field.type == "str" else 1


def documented():
    return re.findall(r"^\| `(\w+)` \|", (DOCS / "traces.md").read_text(), re.MULTILINE)


def test_that_every_field_of_a_line_is_documented_once_the_required_ones_first():
    everything = TraceCall(**{field.name: value_of(field) for field in fields(TraceCall)})
    assert sorted(documented()) == sorted(json.loads(trace_line(everything)))
    optional_texts = {"role", "phase", "model"}  # a call has them, perhaps empty, and a line need not
    required = {field.name for field in fields(TraceCall) if field.default is MISSING} - optional_texts
    assert set(documented()[: len(required)]) == required


def test_that_the_example_is_a_trace_of_two_workflows():
    calls = read_trace(DOCS / "examples" / "trace.jsonl")
    assert len({call.workflow_id for call in calls}) == 2
    assert {call.source for call in calls} == {"made up"}
