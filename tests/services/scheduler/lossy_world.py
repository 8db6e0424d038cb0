"""A whole Maestro in virtual time in which everything goes wrong that can, until it calms down.

The scheduler's core and the nodes' cores are the real ones; network, engines, store, processes and clients are made of
virtual time and a seed, so that the same story always goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from lossy_network import LostError, Network
from lossy_node import Engines, LossyNode
from lossy_scheduler import LossyScheduler, Planner
from lossy_store import LossyStore, Witness
from lossy_story import FAULTS_END_S, FOREVER_S, SHAPES, Fault, FaultKind, Story, Submission
from lossy_time import VirtualTime
from service_world import GIB, MIB, settings

from maestro.codec import workflow_to_proto
from maestro.errors import ConflictError
from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, GpuBudget, ModelSpec, NetworkSpec, NodeSpec
from maestro.fleet import SpeedCoefficients as Speed
from maestro.snapshot import StageKey
from maestro.special_tokens import SpecialTokens
from maestro.status import StageState
from maestro.tokens import estimate_tokens
from maestro_services.scheduler.core import CoreConfig, PromptRules
from maestro_services.scheduler.core import events as on

SCHEDULER = "scheduler"
LEASE_S = 3.0


def _model(name: str, weights_gib: int, start_s: float) -> ModelSpec:
    speeds = {"sim": Speed(20_000.0, 100.0, 0.05, 0.5, start_s)}
    return ModelSpec(name, weights_gib * GIB, 1 << 14, 256 * MIB, GIB // 2, 4096, 4, speeds)


def fleet() -> Fleet:
    """Two nodes with three accelerators, one of elastic KV; no two of the three models fit one of them together."""
    left = (AcceleratorSpec("left-0", "sim", 4 * GIB, slots=4), AcceleratorSpec("left-1", "sim", 4 * GIB, 4, True))
    right = (AcceleratorSpec("right-0", "sim", 5 * GIB, slots=3),)
    nodes = {
        "left": NodeSpec("left-node", left, 8 * GIB, 1e11, 1e11),
        "right": NodeSpec("right-node", right, GIB, 1e11, 1e11),
    }
    models = {m.name: m for m in (_model("writer", 2, 0.5), _model("critic", 3, 1.0), _model("judge", 2, 0.2))}
    clusters = tuple(ClusterSpec(name, (node,)) for name, node in nodes.items())
    return Fleet(clusters, models, NetworkSpec(delay_s=0.01), GpuBudget(3))


def core_config(the_fleet: Fleet | None = None) -> CoreConfig:
    """A patient scheduler on that fleet, or on another."""
    the_fleet = the_fleet or fleet()
    rules = {name: PromptRules(SpecialTokens(frozenset({"<|im_end|>"})), estimate_tokens) for name in the_fleet.models}
    return replace(
        settings(Path("unused")).core, fleet=the_fleet, prompts=rules, lease_ttl_s=LEASE_S, min_plan_interval_s=0.5
    )


class World:
    """Plays a story. ``inspect`` is called every half second with the world as it is."""

    def __init__(self, story: Story, inspect: Callable[[World], None], config: CoreConfig | None = None) -> None:
        self.story = story
        self.time = VirtualTime()
        self.begin_s = self.time.now
        self.config = config or core_config()
        self.random = Random(story.seed)
        self.witness = Witness()
        self.store = LossyStore(self.witness)
        self.network = Network(self.time, self.random, story.loss)
        self.engines = Engines(self.witness, story.faulty)
        self.planner = Planner(story.faulty, 1.5)
        self.schedulers: list[LossyScheduler] = []
        self.nodes: dict[str, LossyNode] = {}
        self.calm = False
        self.gone = ""
        self._inspect = inspect
        self._instances = 0
        self._specs = {n.name: n for c in self.config.fleet.clusters for n in c.nodes}

    @property
    def scheduler(self) -> LossyScheduler:
        """The present scheduler, or the last one where it is down."""
        return self.schedulers[-1]

    def play(self) -> None:
        """Runs through the story's faults."""
        self.start_scheduler()
        for name in self._specs:
            self.start_node(name)
        for number, submission in enumerate(self.story.submissions):
            self.time.later(submission.at_s, partial(self.submit, f"w{number}", submission))
        for fault in self.story.faults:
            self.time.later(fault.at_s, partial(self._strike, fault))
        self._look_after()
        self.time.run(self.begin_s + FAULTS_END_S)

    def calm_down(self) -> None:
        """Nothing fails any more, and whoever is down comes back, but for a node that is gone for good."""
        self.calm = True
        self.network.loss, self.engines.faulty = 0.0, 0.0
        self.planner.faulty, self.planner.longest_s = 0.0, 0.3
        self.network.cut.clear()
        if not self.scheduler.alive:
            self.start_scheduler()
        for name, node in self.nodes.items():
            if not node.alive and name != self.gone:
                self.start_node(name)
            self.scheduler.post(on.NodeDrainRequested(name, undrain=True))

    def start_scheduler(self) -> None:
        """A scheduler starts on the store as it is."""
        scheduler = LossyScheduler(self.config, self.store, self.network, self.time, self.random, self.planner)
        self.schedulers.append(scheduler)
        self.network.endpoints[SCHEDULER] = scheduler

    def start_node(self, name: str) -> None:
        """An agent starts under the node's address and registers."""
        self._instances += 1
        instance_id = f"{name}-{self._instances}"
        models = dict(self.config.fleet.models)
        node = LossyNode(self._specs[name], models, instance_id, self.time, self.random, self.engines)
        self.nodes[name] = self.network.endpoints[name] = node  # type: ignore[assignment]
        self._register(node, 0.2)

    def unended(self) -> list[str]:
        """Workflows that were accepted and have not ended."""
        return [name for name in self.store.accepted if name not in self.store.ended]

    def _register(self, node: LossyNode, delay_s: float) -> None:
        """Announces a node until the scheduler takes it, then keeps its lease."""
        name = node.core.spec.name

        def answered(value: object) -> None:
            if not node.alive:
                return
            if isinstance(value, tuple):
                node.hear_of(value[0])
                self._keep(node, value[1])
            else:
                wait_s = self.random.uniform(0.0, min(5.0, delay_s))
                self.time.later(wait_s, lambda: self._register(node, delay_s * 2) if node.alive else None)

        self.network.call(
            SCHEDULER, lambda process, answer: process.register(name, node.instance_id, name, answer), answered
        )

    def _keep(self, node: LossyNode, lease: int) -> None:
        """Sends heartbeats, until the scheduler does not know the lease."""
        name = node.core.spec.name

        def answered(value: object) -> None:
            if node.alive and isinstance(value, ConflictError):
                self._register(node, 0.2)
            elif node.alive:
                if isinstance(value, tuple):
                    node.hear_of(value[0])
                self.time.later(LEASE_S / 3, beat)

        def beat() -> None:
            if node.alive:
                self.network.call(
                    SCHEDULER,
                    lambda process, answer: process.heartbeat(name, node.instance_id, lease, answer),
                    answered,
                )

        self.time.later(LEASE_S / 3, beat)

    def submit(self, workflow_id: str, submission: Submission) -> None:
        """A client submits a workflow."""
        spec = SHAPES[submission.shape]
        payload = workflow_to_proto(spec).SerializeToString()
        self.scheduler.post(on.WorkflowSubmitted(workflow_id, spec, payload, ""))
        if submission.cancel_after_s is not None:
            self.time.later(submission.cancel_after_s, lambda: self.scheduler.post(on.CancelRequested(workflow_id)))

    def _strike(self, fault: Fault) -> None:
        name = sorted(self.nodes)[fault.which % len(self.nodes)]
        node = self.nodes[name]
        heal: Callable[[], None] | None = None
        match fault.kind:
            case FaultKind.CRASH_NODE if node.alive:
                node.die()
                self.gone = self.gone or (name if fault.for_s == FOREVER_S else "")
                heal = partial(self.start_node, name)
            case FaultKind.CRASH_SCHEDULER if self.scheduler.alive:
                self.scheduler.die()
                heal = self.start_scheduler
            case FaultKind.KILL_ENGINE if node.alive:
                for replica in node.replicas()[fault.which % 2 : fault.which % 2 + 1]:
                    node.break_down(replica.key)
            case FaultKind.CUT_NODE | FaultKind.CUT_SCHEDULER:
                address = name if fault.kind is FaultKind.CUT_NODE else SCHEDULER
                self._cut(address)
                heal = partial(self.network.cut.discard, address)
            case FaultKind.DRAIN_NODE:
                self.scheduler.post(on.NodeDrainRequested(name, undrain=False))
                heal = lambda: self.scheduler.post(on.NodeDrainRequested(name, undrain=True))  # noqa: E731
        if heal is not None:
            self.time.later(fault.for_s, lambda: None if self.calm else heal())

    def _cut(self, address: str) -> None:
        """Nothing gets through to an address any more, and what is open to it breaks."""
        self.network.cut.add(address)
        endpoint = self.network.endpoints[address]
        for open_call in list(endpoint.calls):
            open_call.end(LostError("cut off"))
        for stream in list(endpoint.streams):
            stream.snap()

    def _look_after(self) -> None:
        """Clients complete the tools that wait for them; the world is inspected."""
        self._complete_tools()
        self._inspect(self)
        self.time.later(0.5, self._look_after)

    def _complete_tools(self) -> None:
        for workflow_id in self.unended():
            key = StageKey(workflow_id, "search")
            status = self.scheduler.core.stage_status(key)
            if status is not None and status.state is StageState.RUNNING:
                self.scheduler.post(on.ToolCompleted(key, "found it", ""))
