"""What the core answers an event with: transitions to be made durable, then effects to be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maestro.plan import Provenance
from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey
from maestro.status import StageStatus, WorkflowStatus
from maestro.workflow import ChatMessage, Sampling


@dataclass(frozen=True, slots=True)
class WorkflowAccepted:
    """A workflow was taken on; ``status`` holds it with all its stages."""

    sequence: int
    at_s: float
    status: WorkflowStatus
    payload: bytes
    payload_hash: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class WorkflowEnded:
    """A workflow reached a final state; ``status`` is without stages."""

    sequence: int
    at_s: float
    status: WorkflowStatus


@dataclass(frozen=True, slots=True)
class StageChanged:
    """A stage's state changed. ``voided_attempt`` names an attempt whose tokens are void now (a restart)."""

    sequence: int
    at_s: float
    workflow_id: str
    status: StageStatus
    voided_attempt: str = ""


Transition = WorkflowAccepted | WorkflowEnded | StageChanged


@dataclass(frozen=True, slots=True)
class ExecuteAttempt:
    """Send an attempt to a node. ``priority``: higher is more urgent; the prompt is rendered."""

    node: str
    accelerator: str
    model: str
    generation: int
    key: StageKey
    attempt_id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    max_tokens: int
    priority: int
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class FollowAttempt:
    """Reattach to an attempt that a node already knows."""

    node: str
    key: StageKey
    attempt_id: str


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Stop an attempt; its outcome no longer matters."""

    node: str
    attempt_id: str


@dataclass(frozen=True, slots=True)
class AcknowledgeAttempts:
    """Let a node forget attempts whose outcome is recorded."""

    node: str
    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadReplica:
    """Start an engine with the model. ``peers``: the other accelerators that it takes, if it is tensor-parallel."""

    node: str
    accelerator: str
    model: str
    generation: int
    kv_pool_bytes: int
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnloadReplica:
    """Stop an engine that is idle or asleep."""

    node: str
    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class SleepReplica:
    """Move an idle engine's weights to host memory."""

    node: str
    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class WakeReplica:
    """Move a sleeping engine's weights back."""

    node: str
    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class ForgetNode:
    """Follow nothing on the node any more, and let go of the connection."""

    node: str


@dataclass(frozen=True, slots=True)
class SaveDrainedNodes:
    """Keep which nodes an operator has drained."""

    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Ask the planner for a plan of this snapshot."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class SavePredictor:
    """Keep something of what the predictor has learnt, a JSON-able value, under a name, in place of what was there."""

    name: str
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """A plan is in force."""

    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ReportFallback:
    """A plan was not the solver's, for this reason."""

    reason: Reason


Effect = (
    ExecuteAttempt
    | FollowAttempt
    | CancelAttempt
    | AcknowledgeAttempts
    | LoadReplica
    | UnloadReplica
    | SleepReplica
    | WakeReplica
    | ForgetNode
    | SaveDrainedNodes
    | RequestPlan
    | SavePredictor
    | ReportPlan
    | ReportFallback
)


@dataclass(slots=True)
class Outcome:
    """Transitions first, then effects, each in order. Effects are carried out once the transitions are in the store."""

    transitions: list[Transition] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
