"""The life of workflows and stages: accepted, ready, running, ended. Every change leaves a transition."""

from __future__ import annotations

from collections.abc import Iterable

from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import StageState, WorkflowState
from maestro.workflow import LlmStage
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord, Attempt, StoppingAttempt
from maestro_services.scheduler.core.acceptance import new_stages, weight_of
from maestro_services.scheduler.core.config import RetryPolicy
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.events import (
    AttemptFailed,
    AttemptFinished,
    AttemptStopped,
    CancelRequested,
    WorkflowSubmitted,
)
from maestro_services.scheduler.core.learning import Learning
from maestro_services.scheduler.core.ordering import Ordering
from maestro_services.scheduler.core.outcome import (
    AcknowledgeAttempts,
    CancelAttempt,
    Outcome,
    StageChanged,
    WorkflowAccepted,
    WorkflowEnded,
)
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState

MOST_REFUSALS = 100


class Lifecycle:
    """Applies what happens to workflows and stages."""

    def __init__(self, state: SchedulerState, costing: Costing, learning: Learning, ordering: Ordering) -> None:
        """The parts it works on; it owns none of them."""
        self._state = state
        self._costing = costing
        self._learning = learning
        self._ordering = ordering

    def submit(self, event: WorkflowSubmitted, now: float, outcome: Outcome) -> None:
        """Takes a workflow on: its deadline is fixed here, and stages without predecessors are ready."""
        slo_class = self._state.config.slo_classes[event.spec.slo_class or self._state.config.default_slo_class]
        weight = weight_of(slo_class.weight, event.spec.priority)
        workflow = WorkflowRecord(event.workflow_id, event.spec, slo_class.name, now, now, weight, new_stages(event))
        self._costing.estimate(workflow)
        critical_path_s = max(stage.tail_s for stage in workflow.stages.values())
        workflow.deadline_at_s = self._costing.deadline_s(event.spec, now, critical_path_s, slo_class.deadline_factor)
        self._state.workflows[workflow.id] = workflow
        sequence = self._state.next_sequence()
        for stage in workflow.stages.values():
            if not stage.waiting_for:
                self.make_ready(workflow, stage, now)
        status = workflow.status(sequence, stages=True)
        outcome.transitions.append(
            WorkflowAccepted(sequence, now, status, event.payload, event.payload_hash, event.spec.idempotency_key)
        )
        self._state.plan_wanted = True

    def make_ready(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> None:
        """All predecessors have ended: the prompt is known, so the stage is priced again and may be placed."""
        stage.ready_at_s = now
        if isinstance(stage.spec, LlmStage):
            self._costing.reprice_ready(workflow, stage)
            stage.reason = Reason.WAITING_FOR_PLAN
            self._state.newly_ready.append(stage.key)
            self._enqueue(workflow, stage, now)
        else:
            self._state.tools_to_start.append(stage.key)

    def finish_attempt(self, event: AttemptFinished, now: float, outcome: Outcome) -> None:
        """An engine delivered a result. Only the current attempt of a stage that has not ended counts."""
        stage = self._current(event.key, event.attempt_id)
        if stage is None or stage.attempt is None or not isinstance(stage.spec, LlmStage):
            self.acknowledge(event.attempt_id, outcome)
            return
        workflow = self._state.workflows[event.key.workflow]
        stage.output, stage.usage, stage.finish_reason = event.output, event.usage, event.finish_reason
        if stage.started_at_s is not None and event.first_token_s is not None:
            stage.first_token_at_s = stage.started_at_s + event.first_token_s
        workflow.service_s += event.engine_s
        kind = self._state.accelerators[stage.attempt.accelerator].spec.kind
        self._costing.observe_pace(stage.attempt.model, kind, event.usage, event.engine_s)
        stage.ran_in_cluster = self._state.accelerators[stage.attempt.accelerator].cluster
        self._learning.end(workflow, stage, stage.attempt)
        self.succeed(stage, now, outcome)
        self._release(stage, outcome)

    def fail_attempt(self, event: AttemptFailed, now: float, outcome: Outcome) -> None:
        """An attempt ended without a result: the stage is tried again, within the policy's bounds."""
        stage = self._current(event.key, event.attempt_id)
        if stage is None:
            self.acknowledge(event.attempt_id, outcome)
            return
        self._release(stage, outcome)
        retry = self._state.config.retry
        if not event.retryable:
            self.fail_stage(stage, event.reason, event.detail, now, outcome)
            return
        stage.refusals += event.refused
        stage.losses += event.reason is Reason.NODE_LOST and not event.refused
        failures = stage.attempts - stage.losses - min(stage.refusals, MOST_REFUSALS)
        exhausted = _exhausted(retry, failures, stage.losses)
        if exhausted:
            detail = f"{exhausted}, the last attempt with {event.reason}: {event.detail}"
            self.fail_stage(stage, Reason.RETRIES_EXHAUSTED, detail, now, outcome)
            return
        voided, stage.attempt = event.attempt_id, None
        stage.state, stage.reason, stage.detail = StageState.WAITING, event.reason, event.detail
        stage.not_before_s = now + retry.delay_s(max(1, failures + stage.losses))
        self._enqueue(self._state.workflows[event.key.workflow], stage, now)
        self._record(stage, now, outcome, voided_attempt=voided)
        self._state.plan_wanted = True

    def cancel(self, event: CancelRequested, now: float, outcome: Outcome) -> None:
        """Ends a workflow at its client's wish; running attempts are stopped."""
        workflow = self._state.workflows.get(event.workflow_id)
        if workflow is not None:
            self._end(workflow, WorkflowState.CANCELLED, Reason.CANCELLED_BY_CLIENT, "", now, outcome)

    def succeed(self, stage: StageRecord, now: float, outcome: Outcome) -> None:
        """A stage has its result: its successors may be ready now, and its workflow may have ended."""
        stage.state, stage.reason, stage.ended_at_s = StageState.SUCCEEDED, Reason.COMPLETED, now
        self._record(stage, now, outcome)
        workflow = self._state.workflows[stage.key.workflow]
        workflow.count_off(stage)
        for successor_id in workflow.spec.successors[stage.key.stage]:
            successor = workflow.stages[successor_id]
            successor.waiting_for.discard(stage.key.stage)
            if successor.ready:
                self.make_ready(workflow, successor, now)
        self._state.plan_wanted = True
        if not workflow.unfinished:
            self._end(workflow, WorkflowState.SUCCEEDED, Reason.COMPLETED, "", now, outcome)

    def fail_stage(self, stage: StageRecord, reason: Reason, detail: str, now: float, outcome: Outcome) -> None:
        """A stage failed for good: its workflow fails, and what has not ended of it is cancelled."""
        stage.state, stage.reason, stage.detail, stage.ended_at_s = StageState.FAILED, reason, detail, now
        self._forget_place(stage)
        self._record(stage, now, outcome)
        workflow = self._state.workflows[stage.key.workflow]
        sentence = f'stage "{stage.key.stage}" failed: {detail or reason}'
        self._end(workflow, WorkflowState.FAILED, reason, sentence, now, outcome)

    def record_start(self, stage: StageRecord, now: float, outcome: Outcome) -> None:
        """A stage's attempt is about to be sent, or its tool is at work."""
        stage.state, stage.reason, stage.detail, stage.started_at_s = StageState.RUNNING, None, "", now
        self._forget_place(stage)
        self._record(stage, now, outcome)

    def requeue(self, keys: Iterable[StageKey], now: float) -> None:
        """Stages that have lost their place wait for another one, if they are ready."""
        for key in sorted(keys):
            stage = self._state.stage(key)
            if stage is not None and stage.ready:
                self._enqueue(self._state.workflows[key.workflow], stage, now)

    def unplace(self, accelerators: Iterable[str], now: float) -> None:
        """Takes every place on those accelerators back; ready stages wait for another one."""
        self.requeue(self._state.agenda.drop_accelerators(accelerators), now)

    def acknowledge(self, attempt_id: str, outcome: Outcome) -> None:
        """Lets whichever node holds the attempt forget it."""
        for name, node in self._state.nodes.items():
            if node.instance_id:
                outcome.effects.append(AcknowledgeAttempts(name, (attempt_id,)))

    def _current(self, key: StageKey, attempt_id: str) -> StageRecord | None:
        stage = self._state.stage(key)
        current = stage is not None and stage.state is StageState.RUNNING and stage.attempt is not None
        return stage if current and stage is not None and stage.last_attempt_id == attempt_id else None

    def _end(
        self, workflow: WorkflowRecord, state: WorkflowState, reason: Reason, detail: str, now: float, outcome: Outcome
    ) -> None:
        stage_reason = Reason.PREDECESSOR_FAILED if state is WorkflowState.FAILED else reason
        for stage in workflow.stages.values():
            if not stage.state.final:
                self._stop(workflow, stage, stage_reason, now, outcome)
        workflow.state, workflow.reason, workflow.detail, workflow.ended_at_s = state, reason, detail, now
        sequence = self._state.next_sequence()
        outcome.transitions.append(WorkflowEnded(sequence, now, workflow.status(sequence, stages=False)))
        del self._state.workflows[workflow.id]
        self._learning.forget(workflow.id)
        self._state.plan_wanted = True

    def _stop(self, workflow: WorkflowRecord, stage: StageRecord, reason: Reason, now: float, outcome: Outcome) -> None:
        """Cancels a stage that has not ended; what it has produced so far is a censored length."""
        attempt = stage.attempt
        if stage.state is StageState.RUNNING and attempt is not None:
            node = self._state.accelerators[attempt.accelerator].node
            outcome.effects.append(CancelAttempt(node, attempt.id))
            self._await_stop(workflow, stage, attempt)
        stage.state, stage.reason, stage.ended_at_s = StageState.CANCELLED, reason, now
        self._forget_place(stage)
        self._record(stage, now, outcome)

    def _release(self, stage: StageRecord, outcome: Outcome) -> None:
        """Gives the attempt's place back and lets its node forget it."""
        attempt = stage.attempt
        if attempt is not None:
            self._free_place(stage)
            node = self._state.accelerators[attempt.accelerator].node
            outcome.effects.append(AcknowledgeAttempts(node, (attempt.id,)))

    def _free_place(self, stage: StageRecord) -> None:
        attempt = stage.attempt
        if attempt is not None:
            self._state.accelerators[attempt.accelerator].end(stage.key)
            self._state.attempts.pop(attempt.id, None)
            self._state.touch(attempt.model, attempt.accelerator)
            stage.attempt = None

    def _await_stop(self, workflow: WorkflowRecord, stage: StageRecord, attempt: Attempt) -> None:
        """The attempt keeps its place until its node has stopped it: nobody else is refused for it."""
        unlearnt = self._learning.under_way(workflow, stage, attempt)
        accelerator = self._state.accelerators[attempt.accelerator]
        accelerator.begin_stop(StoppingAttempt(stage.key, attempt, unlearnt))
        self._free_place(stage)

    def _forget_place(self, stage: StageRecord) -> None:
        """Takes the stage out of the agenda and the queue; those behind it may go on."""
        placed = self._state.agenda.place.get(stage.key)
        if placed is not None:
            self._state.touch(placed.model, placed.accelerator)
        self._state.agenda.drop(stage.key)
        self._state.ready.discard(stage.key)

    def _enqueue(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> None:
        """A ready stage waits in the agenda where it has a place, and in the queue for one otherwise."""
        placed = self._state.agenda.place.get(stage.key)
        if placed is not None:
            self._state.touch(placed.model, placed.accelerator)
        else:
            order = self._ordering.key(workflow, stage, now)
            self._state.ready.add(stage.key, order, stage.models, stage.not_before_s)

    def finish_stop(self, event: AttemptStopped) -> None:
        """A cancelled attempt has given its place back; it would have gone on for at least what it had produced."""
        for accelerator in self._state.accelerators.values():
            stopping = accelerator.stopping.get(event.attempt_id)
            if stopping is not None:
                self.free_stopped(accelerator, event.attempt_id)
                if stopping.unlearnt is not None:
                    self._learning.stop(stopping.unlearnt, event.completion_tokens)

    def free_stopped(self, accelerator: AcceleratorRecord, attempt_id: str) -> None:
        """Nothing of a stopping attempt is left on its node."""
        model = accelerator.stopping[attempt_id].attempt.model
        accelerator.end_stop(attempt_id)
        self._state.touch(model, accelerator.spec.name)

    def _record(self, stage: StageRecord, now: float, outcome: Outcome, voided_attempt: str = "") -> None:
        sequence = self._state.next_sequence()
        outcome.transitions.append(StageChanged(sequence, now, stage.key.workflow, stage.status(), voided_attempt))


def _exhausted(retry: RetryPolicy, failures: int, losses: int) -> str:
    """Which bound has been reached, in words; empty where the stage may be tried again."""
    if losses >= retry.max_losses:
        return f"{losses} attempts were lost with their nodes (scheduler.max_losses)"
    if failures >= retry.max_attempts:
        lost = f", besides {losses} lost with their nodes" if losses else ""
        return f"{failures} attempts failed (scheduler.max_attempts){lost}"
    return ""
