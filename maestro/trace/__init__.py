"""Recorded LLM calls of workflows: what one call is, and how files of them are read and checked.

The predictor learns from traces and the simulator replays them; both read them here.
"""

from maestro.trace.call import Ending, TraceCall
from maestro.trace.reader import read_trace, read_traces

__all__ = ["Ending", "TraceCall", "read_trace", "read_traces"]
