"""What a watcher sees of one or several workflows: their states, brought up to date event by event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from maestro.events import Event, StageChanged, StageRestarted, StageTokens, WorkflowChanged
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus


class Phase(StrEnum):
    """Where a stage is, as people ask for it."""

    WAITING = "waiting"
    LOADING = "loading"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_PHASES = {
    StageState.WAITING: Phase.WAITING,
    StageState.RUNNING: Phase.RUNNING,
    StageState.SUCCEEDED: Phase.DONE,
    StageState.FAILED: Phase.FAILED,
    StageState.CANCELLED: Phase.CANCELLED,
}


def phase_of(stage: StageStatus) -> Phase:
    """Return the stage's phase; one that waits for its model's load is loading."""
    if stage.state is StageState.WAITING and stage.reason is Reason.WAITING_FOR_LOAD:
        return Phase.LOADING
    return _PHASES[stage.state]


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage with what its stream has brought so far: ``streamed_pieces`` pieces of text, about a token each."""

    workflow_id: str
    status: StageStatus
    streamed_pieces: int


class Board:
    """Workflows in the order they were put up, with all their stages."""

    def __init__(self) -> None:
        self._workflows: dict[str, WorkflowStatus] = {}
        self._titles: dict[str, str] = {}
        self._streamed: dict[tuple[str, str], int] = {}

    def put(self, status: WorkflowStatus, title: str = "") -> None:
        """Put a workflow up, or replace what is known of it; ``title`` is what people call it (its id by default)."""
        self._workflows[status.id] = status
        self._titles.setdefault(status.id, title or status.id)

    def apply(self, workflow_id: str, event: Event) -> None:
        """Bring one workflow up to date; raises KeyError for one that was not put up."""
        known = self._workflows[workflow_id]
        match event:
            case WorkflowChanged(status=status):
                self._workflows[workflow_id] = replace(status, stages=known.stages, sequence=event.sequence)
            case StageChanged(status=status):
                stages = tuple(status if stage.id == status.id else stage for stage in known.stages)
                self._workflows[workflow_id] = replace(known, stages=stages, sequence=event.sequence)
            case StageRestarted(stage_id=stage_id):
                self._streamed.pop((workflow_id, stage_id), None)
            case StageTokens(stage_id=stage_id):
                key = (workflow_id, stage_id)
                self._streamed[key] = self._streamed.get(key, 0) + 1

    def refresh(self, status: WorkflowStatus) -> tuple[StageStatus, ...]:
        """Take over why stages wait, which no event tells, from a status asked for; returns the stages that wait.

        A stage that has meanwhile gone on stays as its events say.
        """
        known = self._workflows[status.id]
        asked = {stage.id: stage for stage in status.stages if stage.state is StageState.WAITING}
        stages = tuple(
            replace(stage, reason=asked[stage.id].reason, detail=asked[stage.id].detail)
            if stage.state is StageState.WAITING and stage.id in asked
            else stage
            for stage in known.stages
        )
        self._workflows[status.id] = replace(known, stages=stages)
        return tuple(stage for stage in stages if stage.state is StageState.WAITING)

    @property
    def workflows(self) -> Mapping[str, WorkflowStatus]:
        """All workflows by id, in the order they were put up."""
        return self._workflows

    @property
    def all_ended(self) -> bool:
        """Whether no workflow is active any more."""
        return all(status.state is not WorkflowState.ACTIVE for status in self._workflows.values())

    def title(self, workflow_id: str) -> str:
        """Return what people call the workflow."""
        return self._titles[workflow_id]

    def rows(self, workflow_id: str) -> Iterable[StageRow]:
        """Yield the workflow's stages in the order they were submitted."""
        for stage in self._workflows[workflow_id].stages:
            yield StageRow(workflow_id, stage, self._streamed.get((workflow_id, stage.id), 0))
