"""One run: a scheduler core, its nodes and their engines, and the workflows that arrive, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from maestro.snapshot import Snapshot, StageKey
from maestro.status import StageState, WorkflowState, WorkflowStatus
from maestro_services.scheduler.core import CoreConfig, SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.simulation.clients import Clients, Submission, WholeWorkflows
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.events import EventQueue
from maestro_services.simulation.faults import Fault
from maestro_services.simulation.node import SimulatedNode
from maestro_services.simulation.node_life import Surroundings
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.prompts import SizedPrompts
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.tally import Tally
from maestro_services.simulation.workload.truth import Arrival, Truth
from maestro_solver.predictor import LengthPredictor

WARM_UP_SHARE = 0.1
"""The first tenth of the arrivals (by time, or by count where that is given) is not measured."""

HEARTBEAT_S = 3.0

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Window:
    """What is simulated: arrivals up to ``duration_s``, or ``workflows`` of them; the first that is reached ends it."""

    duration_s: float
    workflows: int | None = None

    def measures(self, index: int, at_s: float) -> bool:
        """Whether the workflow that comes ``index``-th, from 0, at an instant is not warm-up."""
        return self.share_done(index, at_s) >= WARM_UP_SHARE

    def share_done(self, arrived: int, at_s: float) -> float:
        """How much of the arrivals is over."""
        return at_s / self.duration_s if self.workflows is None else arrived / self.workflows


@dataclass(slots=True)
class _Active:
    """A workflow under way. ``measured``: it is still to be counted; ``late``: it was, as missed, and goes on."""

    arrival: Arrival
    measured: bool
    late: bool = False


class Simulation:
    """Owns everything of one run. ``run`` is called once."""

    def __init__(  # noqa: PLR0913 - all that a run is made of
        self,
        config: CoreConfig,
        make_predictor: Callable[[Callable[[str], int]], LengthPredictor],
        planner: ChargedPlanner | None,
        engine_model: EngineModel,
        seed: int,
        *,
        clients: Clients | None = None,
        faults: Iterable[Fault] = (),
        recorder: Recorder | None = None,
    ) -> None:
        """``planner`` None: the configuration's dispatch policy decides everything.

        ``make_predictor`` is given what tells the true length of ``workflow/stage``, for an oracle.
        ``clients`` None: workflows are submitted whole. ``faults`` come in order; ``recorder`` is told what happens.
        """
        self.events = EventQueue()
        self.tally = Tally()
        predictor = make_predictor(self._length_of)
        self.core = SchedulerCore(config, RoleLengths(predictor), epoch=1, prompts=SizedPrompts(config.fleet.models))
        self.stages = 0
        self._config = config
        self._planner = planner
        self._clients = clients or WholeWorkflows()
        self._recorder = recorder
        self._active: dict[str, _Active] = {}
        self._due: deque[on.Event] = deque()
        self._handling = False
        self._tick_at_s = float("inf")
        self._arriving = True
        self._arrived = 0
        self._undecided = 0
        self._faults = iter(faults)
        surroundings = Surroundings(engine_model, self.events, self.post, self._truth_of, self.tally, recorder)
        self._nodes = {
            node.name: SimulatedNode(node, config.fleet.models, surroundings, seed)
            for cluster in config.fleet.clusters
            for node in cluster.nodes
        }

    def run(self, arrivals: Iterator[Arrival], window: Window, progress: Progress | None = None) -> None:
        """Goes on until every measured workflow has ended or missed its deadline.

        ``progress`` is told the share that is done now and then.
        """
        for node in self._nodes.values():
            node.register()
        self._beat()
        self._schedule_arrival(arrivals, window, 0)
        self._schedule_fault()
        self._rearm()
        steps = 0
        while (self._arriving or self._undecided) and self.events.step():
            steps += 1
            if progress is not None and steps % 1024 == 0:
                progress(min(1.0, window.share_done(self._arrived, self.events.now)))

    def post(self, event: on.Event) -> None:
        """Hands an event to the core, after those that wait already, and carries out what follows."""
        self._due.append(event)
        if self._handling:
            return
        self._handling = True
        while self._due:
            found = self._due.popleft()
            self._carry_out(self.core.handle(found, self.events.now))
            if not isinstance(found, on.PlanDue) and self.core.plan_is_due(self.events.now):
                self._carry_out(self.core.handle(on.PlanDue(), self.events.now))
        self._handling = False
        self._rearm()

    def used_gib_s(self) -> float:
        """The integral of the KV memory in use over all nodes, GiB seconds."""
        return sum(node.used_gib_s() for node in self._nodes.values())

    def preemptions(self) -> int:
        """How often an engine has taken a request's memory for others."""
        return sum(node.preemptions() for node in self._nodes.values())

    def _carry_out(self, outcome: do.Outcome) -> None:
        for transition in outcome.transitions:
            self._follow(transition)
        for effect in outcome.effects:
            match effect:
                case do.RequestPlan(snapshot):
                    self._plan(snapshot)
                case do.ReportPlan(provenance):
                    self.tally.plan_sources[provenance.source] += 1
                    if self._recorder is not None:
                        self._recorder.plan(self.events.now, str(provenance.source))
                case do.ReportFallback(reason):
                    self.tally.fallbacks[reason] += 1
                case do.SavePredictor() | do.SaveDrainedNodes() | do.ForgetNode() | do.FollowAttempt():
                    pass
                case _:
                    self._nodes[effect.node].carry_out(effect)

    def _follow(self, transition: do.Transition) -> None:
        match transition:
            case do.StageChanged(status=status):
                self.stages += status.state is StageState.SUCCEEDED
                if self._recorder is not None:
                    self._recorder.stage(transition)
            case do.WorkflowEnded(status=status):
                self._end(status)

    def _plan(self, snapshot: Snapshot) -> None:
        """Has a plan made; it arrives after the time that the planner is charged for it."""
        if self._planner is None:
            raise RuntimeError("a plan was asked for where a policy decides")
        found, seconds = self._planner.plan(snapshot)
        self.tally.solver_s += seconds
        self.events.after(seconds, lambda: self.post(on.PlanMade(found)))

    def _schedule_arrival(self, arrivals: Iterator[Arrival], window: Window, count: int) -> None:
        arrival = next(arrivals, None) if window.workflows is None or count < window.workflows else None
        if arrival is None or arrival.at_s > window.duration_s:
            self._arriving = False
            return
        self.events.at(arrival.at_s, lambda: self._arrive(arrival, arrivals, window, count))

    def _arrive(self, arrival: Arrival, arrivals: Iterator[Arrival], window: Window, count: int) -> None:
        measured = window.measures(count, arrival.at_s)
        self._arrived = count + 1
        self._undecided += measured
        self._active[arrival.id] = _Active(arrival, measured)
        self.events.after(arrival.deadline_after_s + 1e-6, partial(self._pass_deadline, arrival.id))
        self._submit(self._clients.begin(arrival))
        self._schedule_arrival(arrivals, window, count + 1)

    def _submit(self, submissions: Iterable[Submission]) -> None:
        for submission in submissions:
            self.post(on.WorkflowSubmitted(submission.id, submission.spec, b"", ""))

    def _pass_deadline(self, workflow_id: str) -> None:
        """A workflow that is late counts as missed now; it goes on, since its client wants it all the same."""
        active = self._active.get(workflow_id)
        if active is not None and active.measured:
            self._count(active, attained=False)
            active.late = True

    def _end(self, status: WorkflowStatus) -> None:
        if self._recorder is not None:
            self._recorder.workflow(status, self.events.now)
        followed = self._clients.follow(
            status.id, succeeded=status.state is WorkflowState.SUCCEEDED, now=self.events.now
        )
        self._submit(followed.next)
        if not followed.ended:
            return
        active = self._active.pop(followed.workflow)
        self.tally.failures += not followed.succeeded
        counts = active.measured or active.late
        if active.measured:
            self._count(active, attained=followed.succeeded)
        if counts and followed.succeeded:
            self.tally.count_latency(active.arrival.spec.slo_class, self.events.now - active.arrival.at_s)

    def _count(self, active: _Active, *, attained: bool) -> None:
        slo_class = active.arrival.spec.slo_class
        self.tally.count_workflow(slo_class, self._config.slo_classes[slo_class].weight, attained=attained)
        active.measured = False
        self._undecided -= 1

    def _schedule_fault(self) -> None:
        fault = next(self._faults, None)
        if fault is not None:
            self.events.at(fault.at_s, lambda: self._break(fault))

    def _break(self, fault: Fault) -> None:
        """Something breaks; what it meets is told to nobody but by its consequences."""
        node = self._nodes[fault.node]
        if fault.accelerator:
            happened = node.break_engine(fault.accelerator, fault.share)
            self.tally.engine_faults += happened
        else:
            happened = node.crash()
            self.tally.node_faults += happened
            if happened:
                self.events.after(fault.repair_s, node.register)
        if happened and self._recorder is not None:
            self._recorder.fault(self.events.now, fault.node, fault.accelerator)
        self._schedule_fault()

    def _truth_of(self, key: StageKey) -> Truth:
        return self._active[self._clients.workflow_of(key.workflow)].arrival.truths[key.stage]

    def _length_of(self, name: str) -> int:
        workflow_id, _, stage_id = name.partition("/")
        return self._truth_of(StageKey(workflow_id, stage_id)).output_tokens

    def _beat(self) -> None:
        """Heartbeats of all nodes."""
        for name, node in self._nodes.items():
            if node.is_up:
                self.post(on.NodeSeen(name))
        self.events.after(HEARTBEAT_S, self._beat)

    def _rearm(self) -> None:
        """Keeps time: a tick no later than the core wants one."""
        at_s = self.core.next_wakeup(self.events.now)
        if at_s < self._tick_at_s:
            self._tick_at_s = at_s
            self.events.at(at_s, lambda: self._tick(at_s))

    def _tick(self, at_s: float) -> None:
        if at_s == self._tick_at_s:
            self._tick_at_s = float("inf")
            self.post(on.Tick())
