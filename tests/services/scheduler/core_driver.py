"""Drives a scheduler core by hand: events in, and the commands it gives answered as nodes would answer them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from service_world import settings

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.status import StageStatus, TokenUsage
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.predictor import LengthPredictor, PredictorConfig

PLANNER = PlannerConfig(limit_s=5.0, horizon_s=30.0, tick_s=0.05, max_exact_stages=60, deterministic=True)


def core_config(**changes: object) -> CoreConfig:
    """The service world's core settings, with changes."""
    return replace(settings(Path("unused")).core, **changes)  # type: ignore[arg-type]


@dataclass
class Driver:
    """A core, its clock, and everything it said. Commands wait in the lists until a test answers them."""

    config: CoreConfig = field(default_factory=core_config)
    now: float = 1_000_000.0
    epoch: int = 1
    transitions: list[do.Transition] = field(default_factory=list)
    effects: list[do.Effect] = field(default_factory=list)
    events: list[tuple[on.Event, float]] = field(default_factory=list)
    core: SchedulerCore = field(init=False)

    def __post_init__(self) -> None:
        """Starts a core that knows nothing."""
        self.core = SchedulerCore(self.config, RoleLengths(LengthPredictor(PredictorConfig())), epoch=self.epoch)

    def post(self, event: on.Event) -> do.Outcome:
        """Hands an event in and keeps what follows."""
        self.events.append((event, self.now))
        outcome = self.core.handle(event, self.now)
        self.transitions += outcome.transitions
        self.effects += outcome.effects
        return outcome

    def take(self, kind: type[do.Effect]) -> list[do.Effect]:
        """The effects of a kind that no test has taken yet."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    def pass_time(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds
        self.post(on.Tick())

    def bring_up(self, *nodes: str) -> None:
        """Registers nodes; each reports that it has nothing."""
        for name in nodes or ("left-node", "right-node"):
            models = frozenset(self.config.fleet.models)
            self.post(on.NodeRegistered(name, f"{name}-1", "127.0.0.1:1", models))
            self.report(name)

    def report(
        self,
        node: str,
        *replicas: on.ReplicaReport,
        attempts: tuple[on.AttemptReport, ...] = (),
        instance: str | None = None,
    ) -> None:
        """A node's status arrives."""
        self.post(on.NodeStatusReported(node, instance or f"{node}-1", replicas, attempts))

    def submit(self, spec: WorkflowSpec, workflow_id: str = "w1") -> None:
        """A workflow is submitted."""
        self.post(on.WorkflowSubmitted(workflow_id, spec, b"", ""))

    def plan(self) -> None:
        """Asks for a plan and has it made, deterministically."""
        self.post(on.PlanDue())
        for request in self.take(do.RequestPlan):
            assert isinstance(request, do.RequestPlan)
            self.post(on.PlanMade(plan(request.snapshot, PLANNER, time.monotonic)))

    def finish_loads(self, after_s: float = 0.3) -> None:
        """Unloads are confirmed and loads done, until none is ordered any more."""
        while True:
            unloads, loads = self.take(do.UnloadReplica), self.take(do.LoadReplica)
            if not unloads and not loads:
                return
            for unload in unloads:
                assert isinstance(unload, do.UnloadReplica)
                self.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
            self.now += after_s
            for load in loads:
                assert isinstance(load, do.LoadReplica)
                self.report(load.node, ready(load))

    def finish(self, attempt: do.ExecuteAttempt, output: str = "text", after_s: float = 0.1) -> do.Outcome:
        """An attempt ends with a result."""
        self.now += after_s
        usage = TokenUsage(20, 10)
        return self.post(on.AttemptFinished(attempt.key, attempt.attempt_id, output, "stop", usage, after_s))

    def fail(self, attempt: do.ExecuteAttempt, reason: Reason = Reason.ENGINE_DIED, *, retryable: bool = True) -> None:
        """An attempt ends without a result."""
        self.post(on.AttemptFailed(attempt.key, attempt.attempt_id, reason, "it broke", retryable=retryable))

    def attempts(self) -> list[do.ExecuteAttempt]:
        """The attempts that were sent and not taken yet."""
        return [effect for effect in self.take(do.ExecuteAttempt) if isinstance(effect, do.ExecuteAttempt)]

    def run_to_the_end(self) -> None:
        """Plans, loads and finishes attempts until nothing is left to do."""
        for _ in range(200):
            self.plan()
            self.finish_loads()
            for attempt in self.attempts():
                self.finish(attempt)
            if not self.core.active_workflows():
                return
            self.pass_time(0.2)
        raise AssertionError("the workflows did not end")

    def stage(self, stage_id: str, workflow_id: str = "w1") -> StageStatus:
        """The last recorded status of a stage."""
        statuses = [
            t.status
            for t in self.transitions
            if isinstance(t, do.StageChanged) and t.workflow_id == workflow_id and t.status.id == stage_id
        ]
        current = self.core.stage_status(StageKey(workflow_id, stage_id))
        return current or statuses[-1]


def ready(load: do.LoadReplica) -> on.ReplicaReport:
    """A node's report that a load is done."""
    return on.ReplicaReport(
        load.accelerator, load.model, load.generation, ReplicaPhase.READY, load.kv_pool_bytes, 0.2, "", load.peers
    )
