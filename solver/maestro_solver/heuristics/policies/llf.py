"""Least laxity first."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class LeastLaxityFirst:
    """The stage whose workflow can least afford to wait goes first: deadline minus the predicted time to its end.

    Trade-offs: unlike EDF it sees how long the remaining path is; like EDF it chases workflows that
    are lost under overload.
    """

    name: str = "llf"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Laxity, then deadline."""
        return (workflow.deadline_s - stage.tail_s, workflow.deadline_s)
