"""Program-level attained service (Autellix)."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.dispatch.policy import DispatchPolicy
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class LeastAttainedServiceFirst:
    """The workflow that engines have spent least on goes first (Luo et al. 2025, 'Autellix').

    Trade-offs: needs no prediction at all; ignores deadlines, and delays what is nearly done.
    """

    name: str = "plas"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:  # noqa: ARG002 - one signature
        """Service received so far, then age."""
        return (workflow.service_s, -workflow.age_s)


PLAS = DispatchPolicy("plas", LeastAttainedServiceFirst())
"""As seen when a stage becomes ready: its predecessors' service is all in by then."""
