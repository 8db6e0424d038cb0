"""The result of a workflow that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from maestro.errors import MaestroError
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus


class WorkflowNotSucceededError(MaestroError):
    """A workflow failed or was cancelled. The message names the stages with reason and detail; ``result`` has all."""

    def __init__(self, result: WorkflowResult) -> None:
        """Say what became of the workflow."""
        self.result = result
        status = result.status
        causes = ", ".join(f"{stage.id} ({_why(stage)})" for stage in result.failures) or _why(status)
        super().__init__(f"workflow {status.id} {status.state}{f': {causes}' if causes else ''}")

    def __reduce__(self) -> tuple[object, ...]:
        """Let the error cross a process boundary whole."""
        return (WorkflowNotSucceededError, (self.result,))


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

    def checked(self) -> WorkflowResult:
        """Return this result; raises WorkflowNotSucceededError unless every stage succeeded."""
        if not self.succeeded:
            raise WorkflowNotSucceededError(self)
        return self


def _why(ended: StageStatus | WorkflowStatus) -> str:
    """Return reason and detail, as far as there are any."""
    return ": ".join(part for part in (ended.reason, ended.detail) if part)
