"""In which order stages without a place in the plan get one: the incremental form of a named policy."""

from __future__ import annotations

from collections.abc import Iterable

from maestro.snapshot import StageKey, WaitingStage
from maestro_services.scheduler.core.fairness import Fairness
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.ready import OrderKey
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.snapshots import workflow_state
from maestro_services.scheduler.core.state import SchedulerState
from maestro_solver.heuristics.policies import Policy
from maestro_solver.heuristics.policies.hopeless_last import HopelessLast

REORDER_EVERY_S = 1.0

_EPOCH_S = 0.0
_HOPEFUL = 0.0
_AT_HOPE = 1
"""Where an order key says whether there is hope; before it stands the rank of fairness."""


class Ordering:
    """Orders stages by a policy, as it sees them when they become ready."""

    def __init__(self, policy: Policy, pace: Pace, fairness: Fairness, *, changes_with_time: bool = False) -> None:
        """``pace`` says how long what is left takes under the present load, ``fairness`` who goes before all others.

        ``changes_with_time``: keys are only comparable if they were computed at the same instant.
        """
        self._pace = pace
        self._fairness = fairness
        self._reordered_at_s = float("-inf")
        self._hopeless_last = isinstance(policy, HopelessLast)
        self._policy = policy.inner if isinstance(policy, HopelessLast) else policy
        self._changes_with_time = changes_with_time

    def key(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> OrderKey:
        """Smaller comes first. Deadlines and ages are instants, unless the policy changes with time.

        Whether a stage is hopeless (late even if it started now) is judged at this instant; see ``demote_hopeless``.
        """
        seen = WaitingStage(stage.key, (), (), stage.tail_s)
        inner = self._policy.order_key(workflow_state(workflow, now if self._changes_with_time else _EPOCH_S), seen)
        rank = float(self._fairness.rank(workflow, stage, now))
        return (rank, float(self._is_hopeless(workflow, stage, now)), *inner)

    def reorder(self, state: SchedulerState, now: float) -> None:
        """Computes all keys anew where they change with time, no more often than once a second."""
        changes = self._changes_with_time or self._fairness.is_on
        if not changes or now < self._reordered_at_s + REORDER_EVERY_S:
            return
        self._reordered_at_s = now
        for key in list(state.ready):
            stage = state.stage(key)
            if stage is not None:
                state.ready.move(key, self.key(state.workflows[key.workflow], stage, now))

    def demote_hopeless(self, state: SchedulerState, keys: Iterable[StageKey], now: float) -> bool:
        """Puts those of the stages behind all others that have become hopeless; whether there were any.

        Hope only ever goes, so it is enough to look at a stage when its turn comes.
        """
        changed = False
        for key in keys if self._hopeless_last else ():
            stage, order = state.stage(key), state.ready.order_of(key)
            if stage is None or order is None or order[_AT_HOPE] != _HOPEFUL:
                continue
            workflow = state.workflows[key.workflow]
            if self._is_hopeless(workflow, stage, now):
                state.ready.move(key, self.key(workflow, stage, now))
                changed = True
        return changed

    def _is_hopeless(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> bool:
        return self._hopeless_last and workflow.deadline_at_s - now < stage.tail_s * max(1.0, self._pace.overall)
