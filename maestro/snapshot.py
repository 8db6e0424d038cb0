"""What the planner sees at one instant: fleet, residency, running and waiting stages with predicted costs.

A snapshot is a frozen value. Its times are seconds relative to ``taken_at_s`` (so the instant itself is 0), its
memory is in bytes. Stages of one workflow refer to each other by :class:`StageKey`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from maestro.fleet import GpuBudget, ModelSpec


class StageKey(NamedTuple):
    """Names one stage of one workflow."""

    workflow: str
    stage: str

    def __str__(self) -> str:
        """``workflow/stage``, as people read it."""
        return f"{self.workflow}/{self.stage}"


class ReplicaPlace(NamedTuple):
    """Names a replica: its model, and the accelerator it is on, of several the first."""

    model: str
    accelerator: str


class ReplicaPhase(StrEnum):
    """Where a replica is in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"  # takes no new stage; unloaded when its last one ends
    SLEEPING = "sleeping"  # weights in host memory
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica on an accelerator. ``ready_in_s`` is 0 once it can serve; ``kv_pool_bytes`` is 0 for elastic KV."""

    model: str
    generation: int
    phase: ReplicaPhase
    ready_in_s: float
    kv_pool_bytes: int


@dataclass(frozen=True, slots=True)
class AcceleratorState:
    """An accelerator that is up, with its replicas. Only LOADING, READY and DRAINING replicas take device memory.

    ``stretch`` says by model how many times longer a stage takes here than its option says, for the other models that
    are at work here: options are about a typical accelerator of the kind. A model that is absent takes as long.
    """

    name: str
    node: str
    cluster: str
    kind: str
    memory_bytes: int
    slots: int
    kv_elastic: bool
    replicas: tuple[ReplicaState, ...] = ()
    stretch: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOption:
    """One way to run a stage: ``model`` on accelerators of ``kind``.

    ``duration_s`` is the predicted time in the engine at the median length, ``duration_p90_s`` at the 90th percentile;
    ``kv_bytes`` is the KV reservation (an upper quantile of the length, capped by ``max_tokens`` and the context).
    """

    model: str
    kind: str
    duration_s: float
    duration_p90_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class PrefixReuse:
    """Where a stage's prompt begins with what a replica still holds the KV of, and what that saves of its time."""

    model: str
    accelerator: str
    saved_s: float


@dataclass(frozen=True, slots=True)
class WaitingStage:
    """A stage that has not started.

    ``predecessors`` holds only those that have not ended; ``inputs_from`` the clusters where ended ones ran, whose
    output has to cross the network to be used elsewhere. An LLM stage has ``options``; a tool stage has none and
    takes ``external_s`` from the moment its predecessors have ended. ``tail_s`` is the longest predicted path from
    this stage's start to its workflow's end. ``not_before_s`` holds back a retry; ``waited_s`` counts from readiness.
    ``first``: it is owed its turn by a rule of fairness, and is planned before all that are not. ``reuse`` has at most
    one entry for a replica. On accelerator g the stage takes its option's time, less that, times g's ``stretch``.
    """

    key: StageKey
    predecessors: tuple[StageKey, ...]
    options: tuple[RunOption, ...]
    tail_s: float
    external_s: float | None = None
    inputs_from: frozenset[str] = frozenset()
    not_before_s: float = 0.0
    waited_s: float = 0.0
    first: bool = False
    reuse: tuple[PrefixReuse, ...] = ()


@dataclass(frozen=True, slots=True)
class RunningStage:
    """A stage that runs: fixed for the planner. A running tool stage has ``accelerator`` and ``model`` None."""

    key: StageKey
    accelerator: str | None
    model: str | None
    remaining_s: float
    remaining_p90_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """A workflow that has not ended. ``deadline_s`` is relative to the snapshot and negative once it has passed.

    ``age_s`` is the time since it was accepted, ``remaining_work_s`` the predicted time of its unfinished LLM stages
    one after the other, ``service_s`` what engines have spent on it so far.
    """

    id: str
    deadline_s: float
    weight: float
    age_s: float
    slo_class: str
    remaining_work_s: float
    service_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ObjectiveWeights:
    """Weights of the objective's terms, all >= 0; see ``maestro_solver.objective`` for the formula."""

    late: float = 100.0
    tardy: float = 1.0
    tardy_cap_s: float = 60.0
    latency: float = 0.2
    swap: float = 1.0
    network: float = 0.0
    gpu: float = 0.0
    churn: float = 1.0


@dataclass(frozen=True, slots=True)
class StartInForce:
    """A stage that has a place in the plan in force and has not started; ``due_in_s`` is negative once it is overdue.

    ``committed``: it is about to start there, and no plan is to move it any more.
    """

    stage: StageKey
    accelerator: str
    model: str
    due_in_s: float
    committed: bool = False


@dataclass(frozen=True, slots=True)
class LoadInForce:
    """A load that the plan in force wants and that has not begun: once all that it ``evicts`` have left.

    ``committed``: places are being emptied for it, or it is about to begin, and no plan is to drop it any more.
    """

    accelerator: str
    model: str
    due_in_s: float
    evicts: frozenset[ReplicaPlace] = frozenset()
    committed: bool = False


@dataclass(frozen=True, slots=True)
class PlanInForce:
    """What is still to be done of the plan in force, its times shifted to the snapshot's instant."""

    starts: tuple[StartInForce, ...] = ()
    loads: tuple[LoadInForce, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDemand:
    """What one model is wanted for in the long run: output tokens a second, prompts counted as the tokens they delay.

    ``kv_bytes`` is what a typical stage of it reserves.
    """

    tokens_per_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant, frozen and versioned.

    ``load_s`` gives the seconds from the start of a load to readiness, keyed by (model, accelerator); a pair that is
    absent cannot be loaded (no such weights on the node, no speed for the kind, or it never fits).
    ``network_delay_s`` is paid when a stage reads from another cluster. ``demand`` by model is there where only the
    residency is to be planned, and stages start as they become ready. ``in_force`` is what another plan changes.

    ``groups`` gives the accelerators that a tensor-parallel replica takes at once, keyed by (model, first accelerator);
    the first stands for all of them wherever a replica, a load or a place is named. Each holds an equal share of what
    the replica holds and of what its stages reserve, and gives each of its stages a slot.
    """

    version: int
    taken_at_s: float
    accelerators: tuple[AcceleratorState, ...]
    models: Mapping[str, ModelSpec]
    load_s: Mapping[tuple[str, str], float]
    workflows: tuple[WorkflowState, ...]
    waiting: tuple[WaitingStage, ...]
    running: tuple[RunningStage, ...]
    budget: GpuBudget
    network_delay_s: float
    weights: ObjectiveWeights
    omitted_stages: int = 0
    demand: Mapping[str, ModelDemand] = field(default_factory=dict)
    in_force: PlanInForce = PlanInForce()
    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def members(self, model: str, accelerator: str) -> tuple[str, ...]:
        """The accelerators of the replica of ``model`` that ``accelerator`` is the first of; most have only it."""
        return self.groups.get((model, accelerator), (accelerator,))
