"""A scheduler's process in virtual time: the real core, what the loop does around it, and a planner that may fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import orjson
from lossy_dispatch import LossyDispatch
from lossy_network import Answer, Endpoint, Network
from lossy_store import LossyStore
from lossy_time import VirtualTime

from maestro.errors import ConflictError
from maestro.reasons import Reason
from maestro_services.scheduler.core import CoreConfig, SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.loop import FORGETTING
from maestro_services.scheduler.predictor_memory import recovered_lengths
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.predictor import PredictorConfig

Settled = Callable[[], None]
Pending = tuple[do.Outcome, Settled | None]

PLANNER = PlannerConfig(limit_s=1.0, horizon_s=30.0, tick_s=0.05, max_exact_stages=0, deterministic=True)


@dataclass
class Planner:
    """How the planner behaves: the share of requests that come to nothing, and how long an answer may take."""

    faulty: float
    longest_s: float


@dataclass(frozen=True)
class Beginning:
    """All that a core starts from."""

    epoch: int
    sequence: int
    predictor: dict[str, bytes]
    drained: frozenset[str]
    workflows: list[RestoredWorkflow]
    at_s: float

    def core(self, config: CoreConfig) -> tuple[SchedulerCore, do.Outcome]:
        """A core at its beginning, and what it had to say to that."""
        lengths, lessons = recovered_lengths(self.predictor.get, PredictorConfig(), trained=False)
        core = SchedulerCore(config, lengths, epoch=self.epoch, sequence=self.sequence, lessons=lessons)
        core.drain(self.drained)
        return core, core.restore(self.workflows, self.at_s)


class LossyScheduler(Endpoint):
    """One scheduler's process, from its start to its kill -9 or a power failure.

    Nodes call it; what it accepts is in the store.
    """

    def __init__(
        self,
        config: CoreConfig,
        store: LossyStore,
        network: Network,
        time: VirtualTime,
        random: Random,
        planner: Planner,
    ) -> None:
        super().__init__()
        self.store = store
        self.events: list[tuple[on.Event, float]] = []
        self.transitions: list[do.Transition] = []
        self._config = config
        self._time = time
        self._random = random
        self._planner = planner
        self._writing: list[Pending] = []
        self._unflushed: list[Pending] = []
        self._in_store = 0
        drained = frozenset(orjson.loads(store.drained))
        self.beginning = Beginning(
            store.begin_epoch(), store.sequence, dict(store.predictor), drained, store.active(), time.now
        )
        self.core, outcome = self.beginning.core(config)
        self.dispatch = LossyDispatch(self.core.epoch, network, time, self.post, config.lease_ttl_s)
        self._settle(outcome)
        self._tick()

    def die(self) -> None:
        """Kill -9, or a power failure: then what is not durable is lost, whatever followed from it."""
        super().die()
        if self._random.random() < 0.5:
            for outcome, _ in self._unflushed:
                self.store.commit(outcome)
        self.dispatch.close()

    def post(self, event: on.Event, settled: Settled | None = None) -> None:
        """Handles an event; effects follow once the transitions before them are written, ``settled`` when durable."""
        if not self.alive:
            return
        self._handle(event, settled)
        if not isinstance(event, on.PlanDue) and self.core.plan_is_due(self._time.now):
            self._handle(on.PlanDue())

    def register(self, node: str, instance_id: str, address: str, answer: Answer) -> None:
        """A node announces itself; the answer is its lease."""
        if self.dispatch.hears_another(node, instance_id):
            raise ConflictError("another agent of the node is at work")

        def registered() -> None:
            self.dispatch.connect(node, instance_id, address)
            answer((self.core.epoch, self.core.nodes[node].lease_generation))

        self.post(on.NodeRegistered(node, instance_id, address, frozenset(self._config.fleet.models)), registered)

    def heartbeat(self, node: str, instance_id: str, lease: int, answer: Answer) -> None:
        """Keeps a lease alive."""
        known = self.core.nodes[node]
        if (instance_id, lease) != (known.instance_id, known.lease_generation):
            raise ConflictError("the lease is not known here; register again")
        self.post(on.NodeSeen(node))
        answer((self.core.epoch, lease))

    def replay(self) -> list[do.Transition]:
        """What another core says to the same events at the same instants."""
        core, outcome = self.beginning.core(self._config)
        transitions = list(outcome.transitions)
        for event, at_s in self.events:
            transitions += core.handle(event, at_s).transitions
        return transitions

    def _handle(self, event: on.Event, settled: Settled | None = None) -> None:
        self.events.append((event, self._time.now))
        self._settle(self.core.handle(event, self._time.now), settled)

    def _settle(self, outcome: do.Outcome, settled: Settled | None = None) -> None:
        self.transitions += outcome.transitions
        facts = any(isinstance(effect, do.SavePredictor | do.SaveDrainedNodes) for effect in outcome.effects)
        if not outcome.transitions and not facts and not self._in_store:
            self._carry_out(outcome)
            self._show(outcome, settled)
            return
        self._in_store += 1
        self._writing.append((outcome, settled))
        if len(self._writing) == 1:
            self._time.later(self._random.choice((0.0, 0.001)), self._write)

    def _write(self) -> None:
        """Effects follow what is only written, so that a power loss leaves effects of what nobody remembers."""
        if not self.alive:
            return
        group, self._writing = self._writing, []
        if not self._unflushed:
            self._time.later(self._random.choice((0.001, 0.002, 0.2)), self._flush)
        self._unflushed += group
        for outcome, _ in group:
            self._carry_out(outcome)

    def _flush(self) -> None:
        """What is written becomes durable, unless the process is gone; the process learns of it a moment later."""
        if self.alive:
            group, self._unflushed = self._unflushed, []
            for outcome, _ in group:
                self.store.commit(outcome)
            self._time.later(self._random.choice((0.0, 0.01)), lambda: self._durable(group))

    def _durable(self, group: list[Pending]) -> None:
        for outcome, settled in group:
            if self.alive:
                self._in_store -= 1
                self._show(outcome, settled)

    def _show(self, outcome: do.Outcome, settled: Settled | None) -> None:
        for effect in outcome.effects:
            if isinstance(effect, FORGETTING):
                self.dispatch.carry_out(effect)
        if settled is not None:
            settled()

    def _carry_out(self, outcome: do.Outcome) -> None:
        for effect in outcome.effects:
            match effect:
                case do.RequestPlan():
                    self._plan(effect)
                case do.ExecuteAttempt():
                    self.store.witness.see_sent(effect)
                    self.dispatch.carry_out(effect)
                case do.AcknowledgeAttempts() | do.CancelAttempt():
                    pass  # what makes a result worthless must be durable
                case _:
                    self.dispatch.carry_out(effect)

    def _plan(self, request: do.RequestPlan) -> None:
        """The planner answers after a while, with a plan of the snapshot or with none."""
        after_s = self._random.uniform(0.01, self._planner.longest_s)
        if self._random.random() < self._planner.faulty:
            failed = on.PlanningFailed(request.snapshot.version, Reason.SOLVER_CRASHED)
            self._time.later(after_s, lambda: self.post(failed))
        else:
            made = on.PlanMade(plan(request.snapshot, PLANNER, lambda: 0.0))
            self._time.later(after_s, lambda: self.post(made))

    def _tick(self) -> None:
        if self.alive:
            self.post(on.Tick())
            now = self._time.now
            self._time.later(max(0.005, self.core.next_wakeup(now) - now), self._tick)
