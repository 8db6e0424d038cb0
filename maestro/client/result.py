"""The result of a workflow that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus


@dataclass(frozen=True)
class WorkflowResult:
    """What became of a workflow, successful or not: see ``succeeded``, ``outputs`` and ``failures``."""

    status: WorkflowStatus

    @property
    def ended(self) -> bool:
        """Whether the workflow has reached a final state."""
        return self.status.state is not WorkflowState.ACTIVE

    @property
    def succeeded(self) -> bool:
        """Whether every stage succeeded."""
        return self.status.state is WorkflowState.SUCCEEDED

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of the stages that succeeded, by stage id, in the order they were submitted."""
        return {stage.id: stage.output for stage in self.status.stages if stage.state is StageState.SUCCEEDED}

    @cached_property
    def failures(self) -> tuple[StageStatus, ...]:
        """The stages that failed; their reason and detail say why."""
        return tuple(stage for stage in self.status.stages if stage.state is StageState.FAILED)
