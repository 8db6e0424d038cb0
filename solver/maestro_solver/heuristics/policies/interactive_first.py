"""Interactive workflows first."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey

_RANKS = {"interactive": 0.0, "standard": 1.0, "batch": 2.0}


@dataclass(frozen=True, slots=True)
class InteractiveFirst:
    """Interactive workflows go before standard ones, those before batch; EDF within a class.

    Trade-offs: people who wait are served at once; a steady stream of interactive work starves batch. A class of
    another name ranks as standard.
    """

    name: str = "interactive_first"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Rank of the class, then deadline, then the longer remaining path."""
        return (_RANKS.get(workflow.slo_class, _RANKS["standard"]), workflow.deadline_s, -stage.tail_s)
