"""Any policy, with stages that cannot make their deadline behind all others."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.policies.policy import OrderKey, Policy


@dataclass(frozen=True, slots=True)
class HopelessLast:
    """``inner``'s order among the stages that can still make it, then among those that cannot.

    A stage is hopeless if its workflow would be late even if the stage started now.

    Trade-offs: saves more workflows under overload; those given up wait long, so their tardiness grows.
    """

    inner: Policy

    @property
    def name(self) -> str:
        """The inner policy's name with ``+hopeless_last``."""
        return f"{self.inner.name}+hopeless_last"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Whether the stage is hopeless, then the inner policy's key."""
        hopeless = workflow.deadline_s < stage.tail_s
        return (float(hopeless), *self.inner.order_key(workflow, stage))
