"""Generated snapshots, for measurements, tests and trying the planner out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec, GpuBudget, ModelSpec, NodeSpec, SpeedCoefficients
from maestro.snapshot import (
    AcceleratorState,
    ObjectiveWeights,
    ReplicaPhase,
    ReplicaState,
    RunOption,
    Snapshot,
    StageKey,
    WaitingStage,
    WorkflowState,
)

_GIB = 1 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Family:
    """What the snapshots of one family have in common.

    ``stages`` and ``accelerators`` are the usual size. ``models`` is how many there are; ``holds`` how many replicas
    fit one accelerator; ``load_s`` and ``stage_s`` are ranges; ``slack`` is a range of deadlines over critical paths;
    ``resident`` the share of accelerators with a replica; ``budget`` the share of accelerators that may be used.
    The first models are tensor-parallel: ``sizes`` says how many accelerators each of them takes, all of a node at
    most.
    """

    stages: int
    accelerators: int
    models: int
    holds: int
    elastic: bool
    slots: int
    max_batch: int
    load_s: tuple[float, float]
    stage_s: tuple[float, float]
    slack: tuple[float, float]
    resident: float
    budget: float
    clusters: int
    tools: float
    sizes: tuple[int, ...] = ()


_CONTENDED = Family(120, 4, 4, 2, True, 4, 3, (5.0, 20.0), (2.0, 20.0), (1.0, 3.0), 0.7, 0.75, 2, 0.1)

FAMILIES: Mapping[str, Family] = {
    "small": Family(80, 4, 2, 2, True, 8, 4, (5.0, 15.0), (2.0, 10.0), (1.5, 6.0), 1.0, 1.0, 1, 0.1),
    "contended": _CONTENDED,
    "contended-1": replace(_CONTENDED, slack=(1.2, 4.0), budget=1.0),
    "contended-2": replace(_CONTENDED, slack=(1.2, 4.0), budget=1.0, stages=190),
    "contended-3": replace(_CONTENDED, slack=(1.2, 4.0), budget=1.0, stages=280),
    "large": Family(1500, 20, 8, 3, True, 16, 8, (5.0, 30.0), (2.0, 20.0), (1.5, 5.0), 0.8, 1.0, 2, 0.1),
    "huge": Family(4600, 64, 16, 3, True, 16, 8, (5.0, 30.0), (2.0, 20.0), (1.5, 5.0), 0.8, 1.0, 4, 0.1),
    "two_models_one_slot": Family(20, 2, 2, 1, False, 4, 4, (40.0, 40.0), (2.0, 10.0), (2.0, 8.0), 0.5, 1.0, 2, 0.0),
    "pools": Family(60, 4, 3, 2, False, 6, 3, (10.0, 30.0), (2.0, 15.0), (1.5, 4.0), 0.8, 1.0, 1, 0.2),
    "tensor-parallel": Family(
        60, 8, 4, 2, True, 6, 4, (5.0, 20.0), (2.0, 15.0), (1.5, 4.0), 0.8, 1.0, 2, 0.1, sizes=(2, 4)
    ),
}
"""``contended-1`` to ``-3`` are levels of overload: the same fleet with more and more waiting for it."""


def generate(family: str, stages: int | None = None, accelerators: int | None = None, seed: int = 0) -> Snapshot:
    """A snapshot with ``stages`` waiting stages on ``accelerators``, by default of the family's usual size.

    Equal arguments give equal snapshots. Raises InvalidInputError for an unknown family and for counts that are not
    positive.
    """
    if family not in FAMILIES:
        raise InvalidInputError(
            "family", "is not known", value=family, remedy=f"choose one of {', '.join(sorted(FAMILIES))}"
        )
    found = FAMILIES[family]
    stages = found.stages if stages is None else stages
    accelerators = found.accelerators if accelerators is None else accelerators
    for field, count in (("stages", stages), ("accelerators", accelerators)):
        if count < 1:
            raise InvalidInputError(field, "must be at least 1", value=count)
    return _Generation(found, accelerators, random.Random(seed)).snapshot(stages)  # noqa: S311 - not a secret


class _Generation:
    """One snapshot in the making."""

    def __init__(self, family: Family, accelerators: int, randomness: random.Random) -> None:
        self._family = family
        self._random = randomness
        self._models = [f"model-{position}" for position in range(family.models)]
        largest = -(-accelerators // family.clusters)
        sizes = (min(size, largest) for size in family.sizes)
        self._size = dict.fromkeys(self._models, 1) | dict(zip(self._models, sizes, strict=False))
        self._places = [(f"gpu-{position}", position % family.clusters) for position in range(accelerators)]
        self._groups = {
            (model, members[0]): members
            for model, size in self._size.items()
            for cluster in range(family.clusters)
            for members in self._node(cluster).groups(size)
        }
        self._held = Counter[str]()
        self._waiting: list[WaitingStage] = []
        self._workflows: list[WorkflowState] = []

    def snapshot(self, stages: int) -> Snapshot:
        """The whole."""
        while len(self._waiting) < stages:
            self._add_workflow(min(self._random.randint(3, 7), stages - len(self._waiting)))
        return Snapshot(
            version=1,
            taken_at_s=0.0,
            accelerators=tuple(self._accelerator(name, cluster) for name, cluster in self._places),
            models={name: self._model(name) for name in self._models},
            load_s={
                (model, name): round(self._random.uniform(*self._family.load_s), 2)
                for model in self._models
                for name, _ in self._places
                if (model, name) in self._groups
            },
            workflows=tuple(self._workflows),
            waiting=tuple(self._waiting),
            running=(),
            budget=GpuBudget(max(1, round(self._family.budget * len(self._places)))),
            network_delay_s=0.3 if self._family.clusters > 1 else 0.0,
            weights=ObjectiveWeights(),
            groups={place: members for place, members in self._groups.items() if self._size[place[0]] > 1},
        )

    def _node(self, cluster: int) -> NodeSpec:
        """The cluster's one node, as far as groups depend on it."""
        names = [name for name, at in self._places if at == cluster]
        return NodeSpec(f"node-{cluster}", tuple(AcceleratorSpec(name, "gpu", 0, 0) for name in names), 0, 0.0, 0.0)

    def _accelerator(self, name: str, cluster: int) -> AcceleratorState:
        replicas = []
        if self._random.random() < self._family.resident:
            model = self._random.choice(self._models)
            members = self._groups.get((model, name), ())
            if members and all(self._held[member] < self._family.holds for member in members):
                self._held.update(members)
                replicas = [ReplicaState(model, 1, ReplicaPhase.READY, 0.0, self._pool_bytes(model))]
        return AcceleratorState(
            name=name,
            node=f"node-{cluster}",
            cluster=f"cluster-{cluster}",
            kind="gpu",
            memory_bytes=(10 * self._family.holds + 8) * _GIB,
            slots=self._family.slots,
            kv_elastic=self._family.elastic,
            replicas=tuple(replicas),
        )

    def _model(self, name: str) -> ModelSpec:
        speeds = {"gpu": SpeedCoefficients(5000.0, 60.0, 0.05, 0.3, 1.0)}
        size = self._size[name]
        return ModelSpec(
            name,
            weights_bytes=9 * size * _GIB,
            kv_bytes_per_token=1 << 17,
            kv_pool_bytes=self._pool_bytes(name),
            overhead_bytes=size * _GIB,
            context_tokens=8192,
            max_batch=self._family.max_batch,
            speeds=speeds,
            tensor_parallel_size=size,
        )

    def _pool_bytes(self, model: str) -> int:
        return 0 if self._family.elastic else 4 * self._size[model] * _GIB

    def _add_workflow(self, count: int) -> None:
        workflow = f"w{len(self._workflows)}"
        durations = [round(self._random.uniform(*self._family.stage_s), 2) for _ in range(count)]
        before: list[tuple[int, ...]] = [
            tuple(sorted(self._random.sample(range(position), min(position, self._random.choice((1, 1, 2))))))
            for position in range(count)
        ]
        tails = durations[:]
        for position in range(count - 1, -1, -1):
            after = [tails[later] for later in range(position + 1, count) if position in before[later]]
            tails[position] = durations[position] + max(after, default=0.0)
        for position, duration_s in enumerate(durations):
            predecessors = tuple(StageKey(workflow, f"s{earlier}") for earlier in before[position])
            self._waiting.append(
                self._stage(StageKey(workflow, f"s{position}"), predecessors, duration_s, tails[position])
            )
        self._workflows.append(
            WorkflowState(
                id=workflow,
                deadline_s=round(max(tails) * self._random.uniform(*self._family.slack), 2),
                weight=self._random.choice((1.0, 1.0, 2.0)),
                age_s=float(max(0, 1000 - len(self._workflows))),
                slo_class=self._random.choice(("interactive", "standard", "batch")),
                remaining_work_s=sum(durations),
                service_s=0.0,
            )
        )

    def _stage(
        self, key: StageKey, predecessors: tuple[StageKey, ...], duration_s: float, tail_s: float
    ) -> WaitingStage:
        if predecessors and self._random.random() < self._family.tools:
            return WaitingStage(key, predecessors, (), tail_s, external_s=duration_s)
        kv_bytes = self._random.randint(100, 1500) * _MIB
        option = RunOption(self._random.choice(self._models), "gpu", duration_s, 1.5 * duration_s, kv_bytes)
        return WaitingStage(key, predecessors, (option,), tail_s)
