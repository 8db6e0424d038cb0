"""Section ``fleet``: clusters, nodes, accelerators, the network between clusters and the GPU budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from maestro.fleet import AcceleratorSpec, ClusterSpec, GpuBudget, NetworkSpec, NodeSpec
from maestro.section import (
    Address,
    Bytes,
    BytesPerSecond,
    Count,
    Flag,
    Name,
    NonNegativeCount,
    PositiveBytes,
    Seconds,
    Section,
)

EngineKind = Literal["vllm", "simulated"]


class AcceleratorSection(Section):
    """One GPU (or a slice of CPU cores and memory), or ``count`` equal ones."""

    name: Name = Field(
        description="Unique in the fleet. With count: <name>-0, <name>-1, ...; in a node with count: <node>-<name>."
    )
    kind: Name = Field(description="Hardware type; models[].speeds is keyed by it.")
    count: Count | None = Field(default=None, description="Number of equal accelerators; left out: one.")
    memory_bytes: PositiveBytes = Field(alias="memory", description="Memory that Maestro may use, e.g. 72 GiB.")
    slots: Count = Field(description="Stages that may run at once on it, over all its models.")
    kv_elastic: Flag = Field(
        default=False,
        description="KV memory returns to the device as stages end (kvcached); false: a fixed pool per replica.",
    )
    cpu_cores: tuple[NonNegativeCount, ...] = Field(
        default=(), description="CPU cores that engines are bound to, by number; empty: not bound."
    )

    def specs(self, prefix: str) -> Iterator[AcceleratorSpec]:
        """Yield the accelerators this entry stands for; ``prefix`` is put before their names."""
        for name in _numbered(prefix + self.name, self.count):
            yield AcceleratorSpec(name, self.kind, self.memory_bytes, self.slots, self.kv_elastic, self.cpu_cores)


class NodeSection(Section):
    """One machine, or ``count`` equal ones."""

    name: Name = Field(description="Name, unique in the fleet. With count: <name>-0, <name>-1, ...")
    count: Count | None = Field(default=None, description="Number of equal nodes; left out: one.")
    listen: Address = Field(
        description="host:port of the node's gRPC service; with count, {index} in it becomes the node's number."
    )
    engine: EngineKind | None = Field(default=None, description="Engine of this node; left out: engine.kind.")
    host_memory_bytes: Bytes = Field(alias="host_memory", description="Memory for sleeping weights, e.g. 256 GiB.")
    disk_bytes_per_s: BytesPerSecond = Field(
        alias="disk_bandwidth", description="Reading weights from disk, e.g. 2 GB/s."
    )
    host_to_device_bytes_per_s: BytesPerSecond = Field(
        alias="host_to_device_bandwidth",
        description="Copying weights from host memory to an accelerator, e.g. 25 GB/s.",
    )
    accelerators: tuple[AcceleratorSection, ...] = Field(min_length=1, description="Its accelerators.")

    def expanded(
        self, cluster: str, default_engine: EngineKind, *, engines_sleep: bool = False
    ) -> Iterator[ConfiguredNode]:
        """Yield the nodes this entry stands for. vLLM's engines sleep on GPUs alone."""
        engine = self.engine or default_engine
        for index, name in enumerate(_numbered(self.name, self.count)):
            prefix = f"{name}-" if self.count is not None else ""
            accelerators = tuple(spec for entry in self.accelerators for spec in entry.specs(prefix))
            on_cpu = any(spec.cpu_cores for spec in accelerators)
            yield ConfiguredNode(
                cluster=cluster,
                listen=self.listen.replace("{index}", str(index)),
                engine=engine,
                spec=NodeSpec(
                    name=name,
                    accelerators=accelerators,
                    host_memory_bytes=self.host_memory_bytes,
                    disk_bytes_per_s=self.disk_bytes_per_s,
                    host_to_device_bytes_per_s=self.host_to_device_bytes_per_s,
                    engines_sleep=engines_sleep and (engine == "simulated" or not on_cpu),
                ),
            )


@dataclass(frozen=True, slots=True)
class ConfiguredNode:
    """One machine as its node service needs to know it. ``listen`` is host:port of its gRPC service."""

    cluster: str
    listen: str
    engine: EngineKind
    spec: NodeSpec

    @property
    def name(self) -> str:
        """Name of the node, unique in the fleet."""
        return self.spec.name


class ClusterSection(Section):
    """A network domain."""

    name: Name = Field(description="Name, unique in the fleet.")
    nodes: tuple[NodeSection, ...] = Field(min_length=1, description="Its nodes.")

    def spec(self, default_engine: EngineKind = "vllm", *, engines_sleep: bool = False) -> ClusterSpec:
        """Return the cluster with all its nodes."""
        expanded = (entry.expanded(self.name, default_engine, engines_sleep=engines_sleep) for entry in self.nodes)
        return ClusterSpec(self.name, tuple(node.spec for nodes in expanded for node in nodes))


class NetworkSection(Section):
    """What it costs to hand a stage's output to a stage in another cluster."""

    delay_s: Seconds = Field(default=0.0, alias="delay", description="Delay between clusters, e.g. 2 ms.")

    def spec(self) -> NetworkSpec:
        """Return the network as the planner knows it."""
        return NetworkSpec(self.delay_s)


class GpuBudgetSection(Section):
    """How many accelerators a plan may use at once."""

    total: Count | None = Field(
        default=None, description="Accelerators in use at once, in all; left out: the whole fleet."
    )
    per_cluster: dict[str, NonNegativeCount] = Field(
        default={}, description="Accelerators in use at once, by cluster; a cluster left out has no limit of its own."
    )


class FleetSection(Section):
    """Everything there is to run on."""

    clusters: tuple[ClusterSection, ...] = Field(min_length=1, description="The clusters.")
    network: NetworkSection = Field(default=NetworkSection(), description="The network between clusters.")
    gpu_budget: GpuBudgetSection = Field(default=GpuBudgetSection(), description="Limit on accelerators in use.")
    reference_kind: Name | None = Field(
        default=None,
        alias="reference_accelerator",
        description="Kind of accelerator on which deadlines are derived; left out: the first accelerator's kind.",
    )

    def nodes(self, default_engine: EngineKind, *, engines_sleep: bool = False) -> Iterator[ConfiguredNode]:
        """Yield all nodes, in file order."""
        for cluster in self.clusters:
            for entry in cluster.nodes:
                yield from entry.expanded(cluster.name, default_engine, engines_sleep=engines_sleep)

    def accelerators(self) -> Iterator[AcceleratorSpec]:
        """Yield all accelerators, in file order."""
        for cluster in self.clusters:
            for node in cluster.spec().nodes:
                yield from node.accelerators

    def budget(self) -> GpuBudget:
        """Return the GPU budget with its default filled in."""
        total = self.gpu_budget.total
        fleet_size = sum(1 for _ in self.accelerators())
        return GpuBudget(fleet_size if total is None else total, dict(self.gpu_budget.per_cluster))


def _numbered(name: str, count: int | None) -> list[str]:
    """``name`` alone, or with a number behind it for each of ``count``."""
    return [name] if count is None else [f"{name}-{index}" for index in range(count)]
