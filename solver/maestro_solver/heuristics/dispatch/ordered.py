"""The policies that differ only in their order: fcfs, edf, llf, srpt and wspt."""

from __future__ import annotations

from maestro_solver.heuristics.dispatch.policy import DispatchPolicy
from maestro_solver.heuristics.policies import POLICIES

ORDERED = (
    DispatchPolicy("fcfs", POLICIES["fcfs"]),
    DispatchPolicy("edf", POLICIES["edf"]),
    DispatchPolicy("llf", POLICIES["llf"]),
    DispatchPolicy("srpt", POLICIES["srpt"]),
    DispatchPolicy("wspt", POLICIES["wspt+hopeless_last"]),
)
"""Each goes where it is predicted to end first."""
