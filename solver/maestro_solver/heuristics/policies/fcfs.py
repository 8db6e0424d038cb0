"""First come, first served."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class FirstComeFirstServed:
    """The workflow that was received first goes first.

    Trade-offs: fair and predictable; ignores deadlines and lengths, so a long workflow holds up short ones.
    """

    name: str = "fcfs"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Time of receipt, then the longer remaining path."""
        return (-workflow.age_s, -stage.tail_s)
