"""Everything the core knows, in one place, with the look-ups that its parts share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from maestro.fleet import ModelSpec, NodeSpec, WeightTier
from maestro.performance import load_s
from maestro.plan import Plan
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.agenda import Agenda
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.fairness import Fairness
from maestro_services.scheduler.core.hosts import Hosts
from maestro_services.scheduler.core.ready import ReadyQueue
from maestro_services.scheduler.core.records import NodeRecord, NodeState, StageRecord, WorkflowRecord

_GENERATIONS_PER_EPOCH = 1 << 32


@dataclass(slots=True)
class SchedulerState:
    """The core's whole memory. ``epoch`` grows with every start of a scheduler on the same store.

    ``ready`` holds the ready LLM stages, ``newly_ready`` those of them that are still to be examined; ``touched`` the
    accelerators whose agenda may be able to go on. ``groups`` names the accelerators that tensor-parallel replicas
    take, as in a snapshot.
    """

    config: CoreConfig
    epoch: int
    sequence: int
    workflows: dict[str, WorkflowRecord] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    accelerators: dict[str, AcceleratorRecord] = field(default_factory=dict)
    groups: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    hosts: Hosts = field(init=False)
    fairness: Fairness = field(init=False)
    attempts: dict[str, StageKey] = field(default_factory=dict)
    agenda: Agenda = field(init=False)
    ready: ReadyQueue = field(default_factory=ReadyQueue)
    touched: set[str] = field(default_factory=set)
    plan: Plan | None = None
    snapshot_version: int = 0
    plan_wanted: bool = False
    plan_requested_at_s: float = float("-inf")
    planning: bool = False
    planner_down: bool = False
    rejections: int = 0
    generations: int = 0
    last_tick_s: float = 0.0
    newly_ready: list[StageKey] = field(default_factory=list)
    tools_to_start: list[StageKey] = field(default_factory=list)
    tool_timers: list[tuple[float, StageKey]] = field(default_factory=list)
    _by_node: dict[str, list[AcceleratorRecord]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """No accelerator has a replica yet, and nothing was started."""
        self.hosts = Hosts(self.accelerators)
        self.agenda = Agenda(self.groups)
        self.fairness = Fairness(self.config.starvation_after_s, self.config.least_shares)

    @classmethod
    def initial(cls, config: CoreConfig, epoch: int, sequence: int) -> SchedulerState:
        """The state before any event: the scenario's nodes, all absent."""
        state = cls(config, epoch, sequence)
        for cluster in config.fleet.clusters:
            for node in cluster.nodes:
                state._add_node(node, cluster.name)
        return state

    def _add_node(self, node: NodeSpec, cluster: str) -> None:
        self.nodes[node.name] = NodeRecord(node, cluster)
        records = [AcceleratorRecord(spec, node.name, cluster) for spec in node.accelerators]
        self._by_node[node.name] = records
        self.accelerators |= {record.spec.name: record for record in records}
        for model in self.config.fleet.models.values():
            if model.tensor_parallel_size > 1:
                self._add_groups(node, model)

    def _add_groups(self, node: NodeSpec, model: ModelSpec) -> None:
        """The accelerators of each group know each other."""
        for group in node.groups_of(model.tensor_parallel_size, model.speeds):
            first, *others = members = tuple(self.accelerators[spec.name] for spec in group)
            self.groups[model.name, first.spec.name] = tuple(spec.name for spec in group)
            first.groups[model.name] = members
            for other in others:
                other.kept_by[model.name] = first

    def next_sequence(self) -> int:
        """A new transition number."""
        self.sequence += 1
        return self.sequence

    def next_generation(self) -> int:
        """A new replica generation: larger than any of this epoch and of the ones before it."""
        self.generations += 1
        return self.epoch * _GENERATIONS_PER_EPOCH + self.generations

    def stage(self, key: StageKey) -> StageRecord | None:
        """The stage, while its workflow is active."""
        workflow = self.workflows.get(key.workflow)
        return workflow.stages.get(key.stage) if workflow else None

    def usable(self) -> Iterator[AcceleratorRecord]:
        """Accelerators of nodes that are up, have reported and take new work."""
        for accelerator in self.accelerators.values():
            node = self.nodes[accelerator.node]
            if node.state is NodeState.UP and node.reported:
                yield accelerator

    def is_usable(self, accelerator: str) -> bool:
        """Whether new work may go there."""
        node = self.nodes[self.accelerators[accelerator].node]
        return node.state is NodeState.UP and node.reported

    def add_tool_timer(self, at_s: float, key: StageKey) -> None:
        """Remembers when a tool stage ends, or is overdue."""
        heappush(self.tool_timers, (at_s, key))

    def due_tools(self, now: float) -> Iterator[StageKey]:
        """Takes out the tool stages whose time has come."""
        while self.tool_timers and self.tool_timers[0][0] <= now:
            yield heappop(self.tool_timers)[1]

    def load_s(self, accelerator: AcceleratorRecord, model: ModelSpec, tier: WeightTier) -> float:
        """Seconds of a load there, from where the weights are to readiness."""
        return load_s(model, self.nodes[accelerator.node].spec, accelerator.spec.kind, tier)

    def on_node(self, node: str) -> list[AcceleratorRecord]:
        """The node's accelerators; to be read only."""
        return self._by_node[node]

    def touch(self, model: str, accelerator: str) -> None:
        """The accelerators of a replica may be able to go on."""
        self.touched.update(self.groups.get((model, accelerator), (accelerator,)))

    def touch_node(self, node: str) -> None:
        """All accelerators of the node may be able to go on: they wait for each other's loads."""
        self.touched.update(accelerator.spec.name for accelerator in self.on_node(node))
