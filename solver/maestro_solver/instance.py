"""A snapshot on the integer grid, with positions in place of names: what heuristics and model both work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from maestro.fleet import GpuBudget
from maestro.reasons import Reason
from maestro.snapshot import ObjectiveWeights, Snapshot, StageKey
from maestro_solver.grid import Grid

NOWHERE = -1
"""The cluster or accelerator of what runs on none of the snapshot's accelerators."""


class GridOption(NamedTuple):
    """A stage runs as ``model`` on ``accelerator`` for ``duration`` ticks and reserves ``kv`` memory units.

    That much of every accelerator of the replica where KV is elastic, else of the replica's pool.
    """

    accelerator: int
    model: int
    duration: int
    kv: int
    duration_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class GridStage:
    """A waiting stage.

    ``options`` holds one entry per accelerator that can ever run it. ``predecessors`` are positions of waiting stages.
    ``release[c]`` is the earliest start in cluster c as far as running and ended predecessors, network and retries
    decide; the last entry is for a tool stage, which runs nowhere. ``external`` is a tool stage's duration.
    ``tail`` is the least time from its start to its workflow's end. ``obstacle`` says why it can never be planned.
    """

    key: StageKey
    workflow: int
    options: tuple[GridOption, ...]
    predecessors: tuple[int, ...]
    release: tuple[int, ...]
    external: int | None
    tail: int
    obstacle: Reason | None


@dataclass(frozen=True, slots=True)
class GridReplica:
    """A replica that is resident in the snapshot.

    It serves from ``ready`` on. ``busy_until`` is when the last stage running on it ends. ``memory`` is what it
    holds of each of its accelerators, pool included; ``pool`` the whole pool alone. A draining one serves nothing and
    leaves at ``busy_until``.
    """

    accelerator: int
    model: int
    ready: int
    busy_until: int
    memory: int
    pool: int
    draining: bool
    ready_s: float
    pool_bytes: int


@dataclass(frozen=True, slots=True)
class GridRunning:
    """A running stage: it holds ``kv`` units, counted as an option's, and one place until ``end``."""

    accelerator: int
    model: int
    end: int
    kv: int


@dataclass(frozen=True, slots=True)
class GridModel:
    """``memory`` and ``elastic_memory`` are what a replica holds of each accelerator with a fixed pool and elastic KV.

    ``pool`` is that of the whole replica.
    """

    name: str
    memory: int
    elastic_memory: int
    pool: int
    pool_bytes: int
    max_batch: int


@dataclass(frozen=True, slots=True)
class GridAccelerator:
    """An accelerator; ``node`` and ``cluster`` are positions, ``forced`` says that it is in use already."""

    name: str
    node: int
    cluster: int
    memory: int
    slots: int
    elastic: bool
    forced: bool


@dataclass(frozen=True, slots=True)
class GridWorkflow:
    """``deadline`` may be negative; ``running_end`` is when the last of its running stages ends (0 if none runs)."""

    id: str
    deadline: int
    weight: float
    running_end: int


@dataclass(frozen=True)
class Instance:
    """A snapshot on ``grid``. ``horizon`` is in ticks: a planned stage starts at a tick before it.

    ``load`` gives load times in ticks by (model, accelerator). ``link_free`` is, per node, when the loads that run now
    have read their weights, and ``link`` how long a load of a pair does. ``pinned`` holds (model, accelerator) pairs
    whose replica never leaves.

    ``kept_places`` are the places of the plan in force by position of stage, ``kept_loads`` how many loads of each
    pair it wants. Stages of ``first`` go before all others.

    ``groups`` gives the accelerators that a tensor-parallel replica takes at once, by model and the first of them,
    which stands for all in every pair. Other models have no entry.
    """

    snapshot: Snapshot
    grid: Grid
    horizon: int
    accelerators: tuple[GridAccelerator, ...]
    models: tuple[GridModel, ...]
    clusters: tuple[str, ...]
    workflows: tuple[GridWorkflow, ...]
    stages: tuple[GridStage, ...]
    successors: tuple[tuple[int, ...], ...]
    replicas: tuple[GridReplica, ...]
    running: tuple[GridRunning, ...]
    load: dict[tuple[int, int], int]
    link: dict[tuple[int, int], int]
    link_free: tuple[int, ...]
    pinned: frozenset[tuple[int, int]]
    network_delay: int
    kept_places: Mapping[int, tuple[int, int]]
    kept_loads: Mapping[tuple[int, int], int]
    first: frozenset[int]
    groups: Mapping[tuple[int, int], tuple[int, ...]]

    @property
    def budget(self) -> GpuBudget:
        """How many accelerators may be in use."""
        return self.snapshot.budget

    @property
    def weights(self) -> ObjectiveWeights:
        """The objective's weights."""
        return self.snapshot.weights

    def members(self, model: int, accelerator: int) -> tuple[int, ...]:
        """The accelerators of the replica of a model that ``accelerator`` is the first of."""
        return self.groups.get((model, accelerator), (accelerator,))

    def memory_of(self, model: int, accelerator: int) -> int:
        """Memory units that a newly loaded replica holds of each of its accelerators, its pool's share included."""
        found = self.models[model]
        return found.elastic_memory if self.accelerators[accelerator].elastic else found.memory

    def pool_of(self, model: int, accelerator: int) -> int:
        """Memory units of a newly loaded replica's pool; 0 where KV is elastic."""
        return 0 if self.accelerators[accelerator].elastic else self.models[model].pool
