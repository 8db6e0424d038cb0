"""Earliest deadline first."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class EarliestDeadlineFirst:
    """The workflow with the earliest deadline goes first (Jackson 1955; Liu and Layland 1973).

    Trade-offs: optimal for one machine that is not overloaded; under overload it spends capacity
    on workflows that are late anyway. Ignores how much work is left.
    """

    name: str = "edf"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Deadline, then the longer remaining path."""
        return (workflow.deadline_s, -stage.tail_s)
