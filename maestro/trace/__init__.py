"""Recorded LLM calls of workflows: what one call is, and how files of them are read, checked and written.

The predictor learns from traces and the simulator replays them; both read them here. What a scheduler has run is
recorded here.
"""

from maestro.trace.call import Ending, TraceCall
from maestro.trace.file import TraceFile
from maestro.trace.reader import read_trace, read_traces
from maestro.trace.recording import recorded_calls
from maestro.trace.writer import trace_line

__all__ = ["Ending", "TraceCall", "TraceFile", "read_trace", "read_traces", "recorded_calls", "trace_line"]
