"""The hardware and the models: clusters, nodes, accelerators, and what each model weighs and how fast it runs.

Amounts are in the units their names say: ``_bytes``, ``_s`` (seconds), ``_tokens``, ``_per_s``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class WeightTier(StrEnum):
    """Where a model's weights are, from farthest to nearest."""

    REMOTE = "remote"
    DISK = "disk"
    HOST = "host"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class AcceleratorSpec:
    """One GPU, or on a machine without GPUs a slice of CPU cores and memory.

    ``kind`` names the hardware type that performance coefficients are keyed by. ``slots`` bounds the stages that run
    at once over all its replicas. ``kv_elastic`` says that KV memory is taken from and returned to the device as
    stages come and go; where it is false each replica holds a fixed pool from its start to its end.
    """

    name: str
    kind: str
    memory_bytes: int
    slots: int
    kv_elastic: bool = False
    cpu_cores: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One machine: its accelerators, and the tiers and links that weights come over.

    ``engines_sleep``: its engines can move their weights to host memory and back, ``host_memory_bytes`` at most.
    """

    name: str
    accelerators: tuple[AcceleratorSpec, ...]
    host_memory_bytes: int
    disk_bytes_per_s: float
    host_to_device_bytes_per_s: float
    engines_sleep: bool = False

    def groups(self, size: int) -> tuple[tuple[str, ...], ...]:
        """The names of accelerators that a replica can take ``size`` of at once; each group begins with its first.

        Neighbours of one kind in the node's order, none in two groups of one size: groups of different replicas either
        are the same or share nothing, so that no accelerator is left over between them. Empty where there are too few.
        """
        by_kind: dict[str, list[str]] = {}
        for accelerator in self.accelerators:
            by_kind.setdefault(accelerator.kind, []).append(accelerator.name)
        return tuple(
            tuple(names[first : first + size])
            for names in by_kind.values()
            for first in range(0, len(names) - size + 1, size)
        )

    def groups_of(self, size: int, kinds: Container[str]) -> tuple[tuple[AcceleratorSpec, ...], ...]:
        """The same groups as accelerators, those of ``kinds`` alone."""
        by_name = {accelerator.name: accelerator for accelerator in self.accelerators}
        found = (tuple(by_name[name] for name in names) for names in self.groups(size))
        return tuple(group for group in found if group[0].kind in kinds)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A network domain: nodes between which moving a stage's input costs nothing worth counting."""

    name: str
    nodes: tuple[NodeSpec, ...]


@dataclass(frozen=True, slots=True)
class GpuBudget:
    """How many accelerators a plan may use: in all, and per cluster (no entry: no limit of its own)."""

    total: int
    per_cluster: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeedCoefficients:
    """How one model runs on one kind of accelerator.

    A decode step of a batch of b takes ``(1 + batch_slope * (b - 1)) / decode_tokens_per_s`` seconds;
    each further active model on the accelerator multiplies it by ``1 + colocation_slope``. A prompt takes
    ``prefill_overhead_s`` besides its tokens, and while it is read the replica's other stages lose ``prefill_stall`` of
    their decode rate (0: nothing, 1: they stand still), which the simulator alone takes into account.
    """

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    batch_slope: float
    colocation_slope: float
    start_s: float
    prefill_overhead_s: float = 0.0
    prefill_stall: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the scheduler knows it.

    ``overhead_bytes`` is what an engine takes beyond weights and KV (runtime, activations, its processes on a CPU).
    ``kv_pool_bytes`` is the pool a replica is started with where KV is not elastic; ``sleeping_bytes`` is the device
    memory that an engine keeps while its weights lie in host memory. ``speeds`` is keyed by accelerator
    kind: a kind that is absent cannot serve the model. ``pinned_on`` names accelerators its replica never leaves.

    A replica takes ``tensor_parallel_size`` accelerators of one node at once (:meth:`NodeSpec.groups`) and is named by
    the first of them. Its bytes are those of the whole replica, of which each accelerator holds an equal share.
    """

    name: str
    weights_bytes: int
    kv_bytes_per_token: int
    kv_pool_bytes: int
    overhead_bytes: int
    context_tokens: int
    max_batch: int
    speeds: Mapping[str, SpeedCoefficients]
    pinned_on: frozenset[str] = frozenset()
    sleeping_bytes: int = 0
    tensor_parallel_size: int = 1

    @property
    def fixed_bytes(self) -> int:
        """Device memory that a resident replica takes before any stage runs, elastic KV not counted."""
        return self.weights_bytes + self.overhead_bytes

    def share_bytes(self, whole_bytes: int) -> int:
        """What each accelerator of a replica holds of ``whole_bytes`` of it, rounded up."""
        return equal_share(whole_bytes, self.tensor_parallel_size)

    def resident_share_bytes(self, pool_bytes: int = 0) -> int:
        """What each accelerator of a resident replica holds whatever runs on it, with a pool of ``pool_bytes``."""
        return self.share_bytes(self.fixed_bytes + pool_bytes)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What it costs to hand a stage's output to a stage in another cluster: ``delay_s`` seconds, whatever its size."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything there is to run on."""

    clusters: tuple[ClusterSpec, ...]
    models: Mapping[str, ModelSpec]
    network: NetworkSpec
    budget: GpuBudget


def equal_share(whole_bytes: int, members: int) -> int:
    """What each of so many accelerators holds of a whole, rounded up."""
    return -(-whole_bytes // members)


def place_text(*accelerators: str) -> str:
    """Return where a replica is: its accelerator, or all that it takes: 'gpu-0+gpu-1'."""
    return "+".join(accelerators)
