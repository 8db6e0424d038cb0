"""Rebuilds the core's memory from what the store kept of workflows that had not ended."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import StageKey
from maestro.status import StageState, StageStatus
from maestro.workflow import LlmStage, ToolStage, WorkflowSpec
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lifecycle import Lifecycle, weight_of
from maestro_services.scheduler.core.records import Attempt, StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState


@dataclass(frozen=True, slots=True)
class RestoredWorkflow:
    """A workflow that was accepted and has not ended, with the last status of each stage that ever changed."""

    id: str
    spec: WorkflowSpec
    slo_class: str
    accepted_at_s: float
    deadline_at_s: float
    stages: dict[str, StageStatus]


def restore(
    state: SchedulerState, lifecycle: Lifecycle, costing: Costing, workflows: list[RestoredWorkflow], now: float
) -> None:
    """Puts workflows back as they were.

    Attempts that were running are believed to run on until their node says otherwise, or is not heard of for a
    lease's time: nothing is started twice, and nothing is forgotten.
    """
    for node in state.nodes.values():
        node.last_seen_s = now
    for restored in workflows:
        workflow = _record(state, restored)
        state.workflows[workflow.id] = workflow
        costing.estimate(workflow)
        for stage in workflow.stages.values():
            if stage.ready:
                lifecycle.make_ready(workflow, stage, now)
            elif stage.state is StageState.RUNNING:
                _resume(state, costing, stage, restored.stages[stage.key.stage], now)
    state.plan_wanted = bool(workflows)


def _record(state: SchedulerState, restored: RestoredWorkflow) -> WorkflowRecord:
    config = state.config
    slo_class = config.slo_classes.get(restored.slo_class) or config.slo_classes[config.default_slo_class]
    stages = {
        spec.id: StageRecord(StageKey(restored.id, spec.id), spec, set(spec.after)) for spec in restored.spec.stages
    }
    for stage_id, status in restored.stages.items():
        _apply(state, stages[stage_id], status)
    for stage in stages.values():
        stage.waiting_for = {before for before in stage.waiting_for if stages[before].state is not StageState.SUCCEEDED}
    return WorkflowRecord(
        restored.id,
        restored.spec,
        slo_class.name,
        restored.accepted_at_s,
        restored.deadline_at_s,
        weight_of(slo_class.weight, restored.spec.priority),
        stages,
    )


def _apply(state: SchedulerState, stage: StageRecord, status: StageStatus) -> None:
    stage.state, stage.reason, stage.detail = status.state, status.reason, status.detail
    stage.attempts, stage.last_attempt_id = status.attempts, status.attempt_id
    stage.model, stage.accelerator = status.model, status.accelerator
    stage.output, stage.usage, stage.finish_reason = status.output, status.usage, status.finish_reason
    stage.ready_at_s, stage.started_at_s, stage.ended_at_s = (
        status.ready_at_s,
        status.started_at_s,
        status.ended_at_s,
    )
    accelerator = state.accelerators.get(status.accelerator)
    if accelerator is not None and status.state is StageState.SUCCEEDED:
        stage.ran_in_cluster = accelerator.cluster


def _resume(state: SchedulerState, costing: Costing, stage: StageRecord, status: StageStatus, now: float) -> None:
    """A running stage goes on: a tool by its timer, an attempt in the place it had."""
    if isinstance(stage.spec, ToolStage):
        if stage.spec.duration_s is not None:
            state.add_tool_timer((stage.started_at_s or now) + stage.spec.duration_s, stage.key)
        return
    accelerator = state.accelerators.get(status.accelerator)
    options = costing.cost(state.workflows[stage.key.workflow], stage).options
    option = next((o for o in options if o.model == status.model), None)
    if accelerator is None or option is None or not isinstance(stage.spec, LlmStage):
        stage.state = StageState.WAITING
        return
    per_token = state.config.fleet.models[status.model].kv_bytes_per_token
    started = stage.started_at_s or now
    attempt = Attempt(
        id=status.attempt_id,
        accelerator=status.accelerator,
        model=status.model,
        generation=status.replica_generation,
        kv_bytes=status.kv_reserved_tokens * per_token,
        kv_tokens=status.kv_reserved_tokens,
        sent_at_s=started,
        expected_end_s=started + option.duration_s,
        latest_end_s=started + option.duration_p90_s,
        recovered=True,
    )
    stage.attempt = attempt
    accelerator.running[stage.key] = attempt
    state.attempts[attempt.id] = stage.key
