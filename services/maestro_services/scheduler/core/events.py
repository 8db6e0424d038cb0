"""What can happen to the scheduler, as values. Times are seconds since the Unix epoch, given with the event."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.plan import Plan
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.status import TokenUsage
from maestro.workflow import WorkflowSpec


@dataclass(frozen=True, slots=True)
class WorkflowSubmitted:
    """A valid workflow was submitted. ``payload`` is its wire form; ``payload_hash`` tells payloads apart."""

    workflow_id: str
    spec: WorkflowSpec
    payload: bytes
    payload_hash: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A client wants the workflow stopped."""

    workflow_id: str


@dataclass(frozen=True, slots=True)
class ToolCompleted:
    """A client delivered a tool stage's result; ``error`` is empty on success."""

    key: StageKey
    output: str
    error: str


@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """A node announced itself. ``models`` are those whose weights it has; ``address`` is where it takes commands.

    ``tensor_parallel``: its engine can run one replica on several accelerators.
    """

    node: str
    instance_id: str
    address: str
    models: frozenset[str]
    tensor_parallel: bool = True


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A heartbeat of a node's current lease arrived."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeUnreachable:
    """An instance of a node has not answered for a lease's time, whatever its heartbeats say."""

    node: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class NodeDrainRequested:
    """An operator wants the node to take nothing new, or (``undrain``) to work again."""

    node: str
    undrain: bool


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica as its node reports it; ``load_s`` is the time since its load began, or that it took.

    ``accelerator`` is the first that it takes, ``peers`` are the others.
    """

    accelerator: str
    model: str
    generation: int
    phase: ReplicaPhase
    kv_pool_bytes: int
    load_s: float
    detail: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One attempt that a node runs or keeps a result of, and how many tokens it has produced."""

    attempt_id: str
    running: bool
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class NodeStatusReported:
    """A node's whole status."""

    node: str
    instance_id: str
    replicas: tuple[ReplicaReport, ...]
    attempts: tuple[AttemptReport, ...]


@dataclass(frozen=True, slots=True)
class ReplicaUnloaded:
    """A node confirmed that a replica is gone and its memory free."""

    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class ReplicaAsleep:
    """A node confirmed that a replica's weights are in host memory and its device memory is free."""

    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class ReplicaCommandRefused:
    """A node refused to load, unload, put to sleep or wake a replica, and so nothing has changed."""

    accelerator: str
    model: str
    generation: int


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An engine ended an attempt with a result (finish reason stop, length or tool_calls).

    ``engine_s`` and ``first_token_s`` count from the request to its last byte and to its first token (None: not known).
    """

    key: StageKey
    attempt_id: str
    output: str
    finish_reason: str
    usage: TokenUsage
    engine_s: float
    first_token_s: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt ended without a result. ``refused``: its node did not take it, so that it had no effect."""

    key: StageKey
    attempt_id: str
    reason: Reason
    detail: str
    retryable: bool
    refused: bool = False


@dataclass(frozen=True, slots=True)
class AttemptStopped:
    """A node stopped an attempt on command, after so much output."""

    attempt_id: str
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class LessonsDue:
    """The loop has the time to learn from what has ended."""


@dataclass(frozen=True, slots=True)
class PlanDue:
    """The loop is free to ask for a plan."""


@dataclass(frozen=True, slots=True)
class PlanMade:
    """The planner answered for the snapshot that the plan names."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PlanningFailed:
    """The planner has no plan at all for that snapshot; the incremental placement goes on."""

    snapshot_version: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    WorkflowSubmitted
    | CancelRequested
    | ToolCompleted
    | NodeRegistered
    | NodeSeen
    | NodeUnreachable
    | NodeDrainRequested
    | NodeStatusReported
    | ReplicaUnloaded
    | ReplicaAsleep
    | ReplicaCommandRefused
    | AttemptFinished
    | AttemptFailed
    | AttemptStopped
    | LessonsDue
    | PlanDue
    | PlanMade
    | PlanningFailed
    | Tick
)
