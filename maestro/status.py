"""What is known of workflows and stages while they run and after: the values that transitions, API and client carry.

Instants are seconds since the Unix epoch (UTC); None where the instant has not come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from maestro.costs import LengthForecast
from maestro.reasons import Reason


class WorkflowState(StrEnum):
    """State of a workflow; all but ACTIVE are final."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StageState(StrEnum):
    """State of a stage; SUCCEEDED, FAILED and CANCELLED are final."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the stage has ended for good."""
        return self in (StageState.SUCCEEDED, StageState.FAILED, StageState.CANCELLED)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one engine call, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage at one instant. ``kv_reserved_tokens`` counts prompt and output; ``attempts`` those begun so far.

    ``replica_generation`` names the life of the replica that the last attempt was sent to, ``peers`` the accelerators
    that it takes beside ``accelerator``, if it is tensor-parallel. ``first_token_at_s`` is known once the stage has
    succeeded. Of the attempts, ``lost_attempts`` were lost with their node and ``refused_attempts`` not taken by it.
    """

    id: str
    state: StageState
    reason: Reason | None = None
    detail: str = ""
    role: str = ""
    model: str = ""
    accelerator: str = ""
    attempts: int = 0
    attempt_id: str = ""
    replica_generation: int = 0
    forecast: LengthForecast | None = None
    kv_reserved_tokens: int = 0
    usage: TokenUsage | None = None
    output: str = ""
    finish_reason: str = ""
    ready_at_s: float | None = None
    started_at_s: float | None = None
    ended_at_s: float | None = None
    first_token_at_s: float | None = None
    peers: tuple[str, ...] = ()
    lost_attempts: int = 0
    refused_attempts: int = 0


@dataclass(frozen=True, slots=True)
class WorkflowStatus:
    """One workflow at one instant. ``sequence`` is that of the last transition the status includes."""

    id: str
    tenant: str
    app: str
    slo_class: str
    state: WorkflowState
    accepted_at_s: float
    deadline_at_s: float
    reason: Reason | None = None
    detail: str = ""
    ended_at_s: float | None = None
    stages: tuple[StageStatus, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    sequence: int = 0

    @property
    def met_deadline(self) -> bool:
        """Whether it succeeded by its deadline."""
        ended = self.ended_at_s
        return self.state is WorkflowState.SUCCEEDED and ended is not None and ended <= self.deadline_at_s
