"""Rebuilds the core's memory from what the store kept of workflows that had not ended."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import StageState, StageStatus
from maestro.workflow import ToolStage, WorkflowSpec
from maestro_services.scheduler.core.accelerator_records import Attempt
from maestro_services.scheduler.core.acceptance import weight_of
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import Outcome, StageChanged
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState
from maestro_services.scheduler.core.tool_stages import ToolStages


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
    state: SchedulerState,
    lifecycle: Lifecycle,
    tools: ToolStages,
    costing: Costing,
    workflows: list[RestoredWorkflow],
    now: float,
) -> Outcome:
    """Puts workflows back as they were; the outcome tells which stages could not be, and are tried again.

    Attempts that were running are believed to run on until their node says otherwise, or is not heard of for a
    lease's time: nothing is started twice, and nothing is forgotten. The scenario may have changed: an attempt whose
    accelerator or model is gone from it is void, and a stage none of whose models is left fails once it is ready.
    """
    outcome = Outcome()
    for node in state.nodes.values():
        node.last_seen_s = now
    for restored in workflows:
        workflow = _record(state, restored)
        state.workflows[workflow.id] = workflow
        costing.estimate(workflow)
        for stage in workflow.stages.values():
            if stage.ready:
                lifecycle.make_ready(workflow, stage, now)
            elif stage.state is StageState.RUNNING and isinstance(stage.spec, ToolStage):
                tools.resume(stage, stage.spec, now)
            elif stage.state is StageState.RUNNING:
                status = restored.stages[stage.key.stage]
                gone = _what_is_gone(state, status)
                if gone:
                    _try_again(state, lifecycle, stage, gone, now, outcome)
                else:
                    _resume_attempt(state, costing, stage, status, now)
    state.plan_wanted = bool(workflows)
    return outcome


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
    stage.losses, stage.refusals = status.lost_attempts, status.refused_attempts
    stage.model, stage.accelerator, stage.peers = status.model, status.accelerator, status.peers
    stage.output, stage.usage, stage.finish_reason = status.output, status.usage, status.finish_reason
    stage.ready_at_s, stage.started_at_s, stage.ended_at_s = (
        status.ready_at_s,
        status.started_at_s,
        status.ended_at_s,
    )
    stage.first_token_at_s = status.first_token_at_s
    accelerator = state.accelerators.get(status.accelerator)
    if accelerator is not None and status.state is StageState.SUCCEEDED:
        stage.ran_in_cluster = accelerator.cluster


def _what_is_gone(state: SchedulerState, status: StageStatus) -> str:
    """What an attempt ran on that the scenario does not have any more, as a sentence; empty where all is there."""
    if status.accelerator not in state.accelerators:
        return f'accelerator "{status.accelerator}" is not in the scenario any more'
    model = state.config.fleet.models.get(status.model)
    if model is None:
        return f'model "{status.model}" is not in the scenario any more'
    if len(state.accelerators[status.accelerator].members(model.name)) != model.tensor_parallel_size:
        return f'model "{status.model}" takes other accelerators than those of "{status.accelerator}" now'
    return ""


def _try_again(
    state: SchedulerState, lifecycle: Lifecycle, stage: StageRecord, gone: str, now: float, outcome: Outcome
) -> None:
    """The attempt is void, and its node, if it is still there, is told so as of any attempt that nobody knows."""
    stage.state, stage.losses = StageState.WAITING, stage.losses + 1
    lifecycle.make_ready(state.workflows[stage.key.workflow], stage, now)
    stage.reason, stage.detail = Reason.NODE_LOST, gone
    changed = StageChanged(state.next_sequence(), now, stage.key.workflow, stage.status(), stage.last_attempt_id)
    outcome.transitions.append(changed)


def _resume_attempt(
    state: SchedulerState, costing: Costing, stage: StageRecord, status: StageStatus, now: float
) -> None:
    """An attempt goes on in the place it had, with the memory it had reserved."""
    accelerator = state.accelerators[status.accelerator]
    options = costing.cost(state.workflows[stage.key.workflow], stage).options
    place = (status.model, accelerator.spec.kind)
    option = next((o for o in options if (o.model, o.kind) == place), None)
    started = stage.started_at_s or now
    attempt = Attempt(
        id=status.attempt_id,
        accelerator=status.accelerator,
        model=status.model,
        generation=status.replica_generation,
        kv_bytes=status.kv_reserved_tokens * state.config.fleet.models[status.model].kv_bytes_per_token,
        kv_tokens=status.kv_reserved_tokens,
        sent_at_s=started,
        expected_end_s=started + (option.duration_s if option else stage.typical_s),
        latest_end_s=started + (option.duration_p90_s if option else stage.typical_s),
        recovered=True,
    )
    stage.attempt = attempt
    accelerator.begin(stage.key, attempt)
    state.attempts[attempt.id] = stage.key
