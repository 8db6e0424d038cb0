"""Shows one workflow: in a few words what it is doing, or every stage with its reasons, places and figures."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from maestro.fleet import place_text
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus
from maestro_services.cli.wording import counted, instant_text


def progress_text(workflow: WorkflowStatus) -> str:
    """Return how many stages have succeeded and what the most telling other one is at; needs the stages."""
    done = sum(stage.state is StageState.SUCCEEDED for stage in workflow.stages)
    share = f"{done}/{len(workflow.stages)}"
    open_stages = [stage for stage in workflow.stages if _could_go_on(stage)]
    if workflow.state is not WorkflowState.ACTIVE or not open_stages:
        return share
    told = max(open_stages, key=_telling)
    others = f" (and {len(open_stages) - 1} more)" if len(open_stages) > 1 else ""
    return f"{share}, {told.id}: {activity_text(told)}{others}"


def activity_text(stage: StageStatus) -> str:
    """Return what a stage is at: its state, its tries where there were several, and the reason."""
    if stage.state is StageState.WAITING and stage.reason is Reason.WAITING_FOR_LOAD and stage.detail:
        return stage.detail
    parts = [] if stage.attempts and stage.state is StageState.WAITING else [str(stage.state)]
    if stage.attempts > 1 or (stage.attempts and stage.state is StageState.WAITING):
        retries = stage.attempts if stage.state is StageState.WAITING else stage.attempts - 1
        parts.append(f"retry {retries}")
    if stage.reason is not None and stage.reason is not Reason.COMPLETED:
        parts.append(stage.reason.removeprefix("waiting_for_").replace("_", " "))
    return ", ".join(parts)


def workflow_view(workflow: WorkflowStatus, now_s: float) -> RenderableType:
    """Return the workflow and a table of its stages as they are at ``now_s`` (Unix time)."""
    because = ": ".join(part for part in (workflow.reason, workflow.detail) if part)
    lines = [
        f"{workflow.id}: {workflow.state}{f' ({because})' if because else ''}",
        f"app {workflow.app}, tenant {workflow.tenant}, SLO class {workflow.slo_class}, "
        f"accepted {instant_text(workflow.accepted_at_s, now_s)}, deadline {deadline_text(workflow, now_s)}",
        f"{counted(len(workflow.stages), 'stage')}: {progress_text(workflow)}",
    ]
    table = Table("stage", "role", "state", "why", "attempts", "where", "seconds", "tokens", "predicted p50/p95")
    for stage in workflow.stages:
        table.add_row(*_cells(stage, now_s))
    return Group("\n".join(lines), table)


def deadline_text(workflow: WorkflowStatus, now_s: float) -> str:
    """Return the deadline, and how it was kept; - for what was given up before it, which missed nothing."""
    if workflow.ended_at_s is None:
        return instant_text(workflow.deadline_at_s, now_s)
    given_up = workflow.state is WorkflowState.CANCELLED or (
        workflow.state is WorkflowState.FAILED and workflow.ended_at_s <= workflow.deadline_at_s
    )
    if given_up:
        return "-"
    return f"{instant_text(workflow.deadline_at_s, now_s)} {'met' if workflow.met_deadline else 'missed'}"


def _could_go_on(stage: StageStatus) -> bool:
    return not stage.state.final and stage.reason is not Reason.WAITING_FOR_PREDECESSORS


def _telling(stage: StageStatus) -> tuple[bool, int, bool]:
    """Rank what waits over what runs, and of these what was tried most often."""
    return stage.state is StageState.WAITING, stage.attempts, stage.detail != ""


def _cells(stage: StageStatus, now_s: float) -> tuple[str, ...]:
    reason = "" if stage.reason is None else stage.reason.removeprefix("waiting_for_").replace("_", " ")
    why = ": ".join(part for part in (reason, stage.detail) if part)
    where = f"{stage.model} on {place_text(stage.accelerator, *stage.peers)}" if stage.accelerator else ""
    seconds = "" if stage.started_at_s is None else f"{_seconds(stage, stage.started_at_s, now_s):.1f}"
    tokens = "" if stage.usage is None else str(stage.usage.completion_tokens)
    forecast = stage.forecast
    predicted = "" if forecast is None else f"{forecast.p50_tokens:.0f}/{forecast.p95_tokens:.0f}"
    return stage.id, stage.role, str(stage.state), why, _attempts(stage), where, seconds, tokens, predicted


def _attempts(stage: StageStatus) -> str:
    return f"{stage.attempts} ({stage.lost_attempts} lost)" if stage.lost_attempts else str(stage.attempts)


def _seconds(stage: StageStatus, started_at_s: float, now_s: float) -> float:
    return max(0.0, (now_s if stage.ended_at_s is None else stage.ended_at_s) - started_at_s)
