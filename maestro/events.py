"""What a watcher of a workflow is told. Transitions are durable and sequenced; token and restart events are neither.

``at_s`` is in seconds since the Unix epoch. ``sequence`` grows with every transition in the scheduler's store.
"""

from __future__ import annotations

from dataclasses import dataclass

from maestro.reasons import Reason
from maestro.status import StageStatus, WorkflowStatus


@dataclass(frozen=True, slots=True)
class WorkflowChanged:
    """The workflow's state has changed; ``status`` is without stages."""

    sequence: int
    at_s: float
    status: WorkflowStatus


@dataclass(frozen=True, slots=True)
class StageChanged:
    """A stage's state has changed."""

    sequence: int
    at_s: float
    status: StageStatus


@dataclass(frozen=True, slots=True)
class StageRestarted:
    """An attempt ended without a result and its token events are void; the stage is tried again.

    ``sequence`` is 0: the transition that goes with it is a StageChanged of its own.
    """

    sequence: int
    at_s: float
    stage_id: str
    attempt_id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class StageTokens:
    """New output of a running stage: ``text`` stands at ``offset_bytes`` (UTF-8) of the attempt's output."""

    at_s: float
    stage_id: str
    attempt_id: str
    offset_bytes: int
    text: str


Event = WorkflowChanged | StageChanged | StageRestarted | StageTokens
