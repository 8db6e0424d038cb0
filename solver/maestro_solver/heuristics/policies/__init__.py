"""The named policies: each gives every stage an order key, smaller is sooner, from its workflow and itself alone.

``POLICIES`` holds them by name, each also as a variant that puts hopeless stages last.
"""

from __future__ import annotations

from collections.abc import Mapping

from maestro_solver.heuristics.policies.edf import EarliestDeadlineFirst
from maestro_solver.heuristics.policies.fcfs import FirstComeFirstServed
from maestro_solver.heuristics.policies.hopeless_last import HopelessLast
from maestro_solver.heuristics.policies.interactive_first import InteractiveFirst
from maestro_solver.heuristics.policies.llf import LeastLaxityFirst
from maestro_solver.heuristics.policies.policy import Policy
from maestro_solver.heuristics.policies.srpt import ShortestRemainingPathFirst
from maestro_solver.heuristics.policies.wspt import WeightedShortestWorkflowFirst

__all__ = ["POLICIES", "Policy"]

_PLAIN: tuple[Policy, ...] = (
    EarliestDeadlineFirst(),
    LeastLaxityFirst(),
    ShortestRemainingPathFirst(),
    WeightedShortestWorkflowFirst(),
    InteractiveFirst(),
    FirstComeFirstServed(),
)

POLICIES: Mapping[str, Policy] = {
    policy.name: policy for policy in (*_PLAIN, *(HopelessLast(policy) for policy in _PLAIN))
}
