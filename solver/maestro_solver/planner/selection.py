"""What of a very large snapshot is planned at all, and where: as much as the limit has time for.

Every way to place a stage costs time: to be read, to be tried, to be checked. Where a snapshot has more of them than
the limit allows, every workflow is tied to one cluster, so that clusters share the work evenly; where that is not
enough, the workflows that matter most are planned and the others are left out. Once there is a plan, clusters exchange
work (:mod:`maestro_solver.planner.exchange`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from maestro.snapshot import Snapshot, StageKey, WaitingStage
from maestro_solver.heuristics.policies import POLICIES

_CHOICES_PER_S = 75_000
"""Ways to place a stage that a second of the limit has time for; on the safe side."""

_CHOICES_FOR_A_STAGE = 15
"""What a stage takes beside its choices, counted in choices."""

_POLICY = POLICIES["llf+hopeless_last"]
"""The order in which workflows matter."""


@dataclass(frozen=True, slots=True)
class Selection:
    """``snapshot`` holds what is planned; ``cluster_of`` the cluster that a workflow is tied to, if any.

    ``left_out`` are the waiting stages that are not planned.
    """

    snapshot: Snapshot
    cluster_of: Mapping[str, str]
    left_out: tuple[StageKey, ...] = ()


def select(snapshot: Snapshot, limit_s: float) -> Selection:
    """All of the snapshot where ``limit_s`` seconds are enough for it; else what they are enough for."""
    kinds = Counter(found.kind for found in snapshot.accelerators)
    most = max(1.0, limit_s * _CHOICES_PER_S)
    if sum(_choices(stage, kinds) for stage in snapshot.waiting) <= most:
        return Selection(snapshot, {})
    stages: dict[str, list[WaitingStage]] = defaultdict(list)
    for stage in snapshot.waiting:
        stages[stage.key.workflow].append(stage)
    workflows = {found.id: found for found in snapshot.workflows}
    known = [name for name in stages if name in workflows]
    order = sorted(known, key=lambda name: min(_POLICY.order_key(workflows[name], each) for each in stages[name]))
    clusters = _Clusters(snapshot)
    cluster_of: dict[str, str] = {}
    chosen: set[str] = set()
    spent = 0
    for name in order:
        cluster = clusters.take(stages[name])
        spent += sum(clusters.choices(stage, cluster) for stage in stages[name])
        if chosen and spent > most:
            break
        chosen.add(name)
        if cluster is not None:
            cluster_of[name] = cluster
    waiting = tuple(stage for stage in snapshot.waiting if stage.key.workflow in chosen)
    left_out = tuple(stage.key for stage in snapshot.waiting if stage.key.workflow not in chosen)
    return Selection(replace(snapshot, waiting=waiting), cluster_of, left_out)


def _choices(stage: WaitingStage, kinds: Mapping[str, int]) -> int:
    return _CHOICES_FOR_A_STAGE + sum(kinds.get(option.kind, 0) for option in stage.options)


class _Clusters:
    """The clusters of a snapshot, and how much work has been given to each."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self._slots: Counter[str] = Counter()
        self._models: dict[str, set[str]] = defaultdict(set)
        at = {found.name: found.cluster for found in snapshot.accelerators}
        for found in snapshot.accelerators:
            self._kinds[found.cluster][found.kind] += 1
            self._slots[found.cluster] += max(1, found.slots)
            self._models[found.cluster].update(replica.model for replica in found.replicas)
        for model, accelerator in snapshot.load_s:
            if accelerator in at:
                self._models[at[accelerator]].add(model)
        self._all = sum(self._kinds.values(), Counter[str]())
        self._work: dict[str, float] = defaultdict(float)

    def take(self, stages: list[WaitingStage]) -> str | None:
        """Give a workflow to the cluster with the least work for its slots that can run all of it; None if none can."""
        possible = [name for name in self._kinds if all(self._can_run(name, stage) for stage in stages)]
        if not possible:
            return None
        chosen = min(possible, key=lambda name: self._work[name] / self._slots[name])
        self._work[chosen] += sum(min((option.duration_s for option in stage.options), default=0.0) for stage in stages)
        return chosen

    def choices(self, stage: WaitingStage, cluster: str | None) -> int:
        """How many ways there are to place a stage in a cluster, or anywhere."""
        return _choices(stage, self._all if cluster is None else self._kinds[cluster])

    def _can_run(self, cluster: str, stage: WaitingStage) -> bool:
        return stage.external_s is not None or any(
            self._kinds[cluster][option.kind] > 0 and option.model in self._models[cluster] for option in stage.options
        )
