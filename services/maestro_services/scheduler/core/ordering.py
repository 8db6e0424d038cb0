"""In which order stages without a place in the plan get one: the incremental form of a named policy."""

from __future__ import annotations

from maestro.snapshot import WaitingStage
from maestro_services.scheduler.core.ready import OrderKey
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.snapshots import workflow_state
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.heuristics.policies.hopeless_last import HopelessLast

_EPOCH_S = 0.0


class Ordering:
    """Orders stages by a policy of the solver's portfolio, as it sees them when they become ready."""

    def __init__(self, policy: str) -> None:
        """``policy`` is a name in the portfolio."""
        chosen = POLICIES[policy]
        self._hopeless_last = isinstance(chosen, HopelessLast)
        self._policy = chosen.inner if isinstance(chosen, HopelessLast) else chosen

    def key(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> OrderKey:
        """Smaller comes first. Deadlines and ages are taken as instants, so that keys of different times compare.

        Whether a stage is hopeless (late even if it started now) is judged once, at this instant.
        """
        seen = WaitingStage(stage.key, (), (), stage.tail_s)
        inner = self._policy.order_key(workflow_state(workflow, _EPOCH_S), seen)
        hopeless = self._hopeless_last and workflow.deadline_at_s - now < stage.tail_s
        return (float(hopeless), *inner)
