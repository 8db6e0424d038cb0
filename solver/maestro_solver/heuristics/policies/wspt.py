"""Weighted shortest workflow first."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class WeightedShortestWorkflowFirst:
    """The workflow with the least remaining work goes first, per unit of its weight (Smith 1956).

    Trade-offs: optimal for weighted completion times on one machine; unlike the shortest path it
    counts parallel work; deadlines are ignored.
    """

    name: str = "wspt"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Remaining work over weight, then the longer remaining path."""
        return (workflow.remaining_work_s / max(workflow.weight, 1e-9), -stage.tail_s)
