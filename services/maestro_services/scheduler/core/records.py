"""The core's memory: workflows, stages, nodes. Mutable, owned by the core alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from maestro.costs import LengthForecast
from maestro.fleet import NodeSpec
from maestro.prompt import FittedPrompt
from maestro.reasons import Reason
from maestro.snapshot import RunOption, StageKey
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro.workflow import LlmStage, Stage, WorkflowSpec
from maestro_services.scheduler.core.accelerator_records import Attempt


@dataclass(frozen=True, slots=True)
class StageCost:
    """Predictions for one LLM stage: how it can run, and the forecast of its length by model."""

    options: tuple[RunOption, ...]
    forecasts: dict[str, LengthForecast]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a stage can never run as one of its models."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class StageRecord:
    """A stage of an accepted workflow. ``prompts`` holds the rendered prompt for each model it was counted for.

    ``misfits`` holds the acceptable models that it turned out not to be able to run as. Predictions: ``typical_s`` on
    the reference accelerator, ``expected_tokens`` of output, ``tail_s`` from its start to the end of its workflow.
    """

    key: StageKey
    spec: Stage
    waiting_for: set[str]
    state: StageState = StageState.WAITING
    reason: Reason | None = Reason.WAITING_FOR_PREDECESSORS
    detail: str = ""
    attempts: int = 0
    losses: int = 0
    refusals: int = 0
    attempt: Attempt | None = None
    last_attempt_id: str = ""
    output: str = ""
    usage: TokenUsage | None = None
    finish_reason: str = ""
    ready_at_s: float | None = None
    started_at_s: float | None = None
    ended_at_s: float | None = None
    first_token_at_s: float | None = None
    not_before_s: float = 0.0
    prompts: dict[str, FittedPrompt] = field(default_factory=dict)
    misfits: dict[str, Misfit] = field(default_factory=dict)
    cost: StageCost | None = None
    prompt_tokens: int = 0
    expected_tokens: float = 0.0
    typical_s: float = 0.0
    tail_s: float = 0.0
    ran_in_cluster: str = ""
    model: str = ""
    accelerator: str = ""
    peers: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models that may run it, most wanted first; none for a tool."""
        return self.spec.models if isinstance(self.spec, LlmStage) else ()

    @property
    def ready(self) -> bool:
        """Whether every predecessor has ended and nothing has been started."""
        return self.state is StageState.WAITING and not self.waiting_for

    @property
    def llm(self) -> LlmStage:
        """The stage's call; raises TypeError for a tool."""
        if not isinstance(self.spec, LlmStage):
            raise TypeError(f"{self.key} is no LLM stage")
        return self.spec

    def status(self) -> StageStatus:
        """The stage as a value."""
        attempt = self.attempt
        forecasts = self.cost.forecasts if self.cost else {}
        return StageStatus(
            id=self.key.stage,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            role=self.spec.role if isinstance(self.spec, LlmStage) else self.spec.name,
            model=self.model,
            accelerator=self.accelerator,
            peers=self.peers,
            attempts=self.attempts,
            lost_attempts=self.losses,
            refused_attempts=self.refusals,
            attempt_id=self.last_attempt_id,
            replica_generation=attempt.generation if attempt else 0,
            forecast=forecasts.get(self.model) or next(iter(forecasts.values()), None),
            kv_reserved_tokens=attempt.kv_tokens if attempt else 0,
            usage=self.usage,
            output=self.output,
            finish_reason=self.finish_reason,
            ready_at_s=self.ready_at_s,
            started_at_s=self.started_at_s,
            ended_at_s=self.ended_at_s,
            first_token_at_s=self.first_token_at_s,
        )


@dataclass(slots=True)
class WorkflowRecord:
    """A workflow that was accepted and has not ended.

    ``remaining_work_s`` is the predicted time of its ``unfinished`` stages, one after the other.
    """

    id: str
    spec: WorkflowSpec
    slo_class: str
    accepted_at_s: float
    deadline_at_s: float
    weight: float
    stages: dict[str, StageRecord]
    state: WorkflowState = WorkflowState.ACTIVE
    reason: Reason | None = None
    detail: str = ""
    ended_at_s: float | None = None
    service_s: float = 0.0
    remaining_work_s: float = 0.0
    unfinished: int = 0

    def expect(self) -> None:
        """Sums up what is left to do; to be called when the stages have been estimated."""
        left = [stage.typical_s for stage in self.stages.values() if not stage.state.final]
        self.remaining_work_s, self.unfinished = sum(left), len(left)

    def count_off(self, stage: StageRecord) -> None:
        """A stage has succeeded: that much less is left to do."""
        self.remaining_work_s = max(0.0, self.remaining_work_s - stage.typical_s)
        self.unfinished -= 1

    def status(self, sequence: int, *, stages: bool) -> WorkflowStatus:
        """The workflow as a value, with or without its stages."""
        return WorkflowStatus(
            id=self.id,
            tenant=self.spec.tenant,
            app=self.spec.app,
            slo_class=self.slo_class,
            state=self.state,
            accepted_at_s=self.accepted_at_s,
            deadline_at_s=self.deadline_at_s,
            reason=self.reason,
            detail=self.detail,
            ended_at_s=self.ended_at_s,
            stages=tuple(stage.status() for stage in self.stages.values()) if stages else (),
            labels=self.spec.labels,
            sequence=sequence,
        )


class NodeState(StrEnum):
    """What the scheduler believes of a node."""

    ABSENT = "absent"
    UP = "up"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(slots=True)
class NodeRecord:
    """A node of the scenario. ``instance_id`` is empty while it is not there.

    ``reported``: its status has been seen since it registered last; nothing is sent to it before.
    """

    spec: NodeSpec
    cluster: str
    address: str = ""
    instance_id: str = ""
    lease_generation: int = 0
    last_seen_s: float = 0.0
    reported: bool = False
    draining: bool = False
    lost: bool = False
    models: frozenset[str] = frozenset()

    @property
    def state(self) -> NodeState:
        """What the scheduler believes of the node."""
        if not self.instance_id:
            return NodeState.LOST if self.lost else NodeState.ABSENT
        return NodeState.DRAINING if self.draining else NodeState.UP
