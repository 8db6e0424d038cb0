"""Weighted shortest remaining path first."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class ShortestRemainingPathFirst:
    """The stage that is nearest to its workflow's end goes first, per unit of the workflow's weight.

    Trade-offs: low mean latency, and what is nearly done gets done; long workflows may starve, and
    deadlines are ignored.
    """

    name: str = "srpt"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Remaining path over weight, then deadline."""
        return (stage.tail_s / max(workflow.weight, 1e-9), workflow.deadline_s)
