"""What a workflow begins as when it is accepted: its weight in the objective and the records of its stages."""

from __future__ import annotations

from maestro.snapshot import StageKey
from maestro_services.scheduler.core.events import WorkflowSubmitted
from maestro_services.scheduler.core.records import StageRecord

WEIGHT_PER_PRIORITY = 1.02


def weight_of(class_weight: float, priority: int) -> float:
    """A workflow's weight in the objective: its class's, times about 2 for every 35 points of priority."""
    return float(class_weight * WEIGHT_PER_PRIORITY**priority)


def new_stages(event: WorkflowSubmitted) -> dict[str, StageRecord]:
    """Records of a workflow's stages, none of them begun."""
    return {
        stage.id: StageRecord(StageKey(event.workflow_id, stage.id), stage, set(stage.after))
        for stage in event.spec.stages
    }
