"""From a snapshot to an :class:`~maestro_solver.instance.Instance`: rounding, positions, and what can run where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import TypeVar

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec
from maestro.performance import engine_start_s
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, ReplicaState, Snapshot, WaitingStage
from maestro_solver.grid import Grid
from maestro_solver.grouping import Groups
from maestro_solver.instance import (
    NOWHERE,
    GridAccelerator,
    GridModel,
    GridOption,
    GridReplica,
    GridRunning,
    GridStage,
    GridWorkflow,
    Instance,
)
from maestro_solver.kept import going_first, loads_of, places_of
from maestro_solver.stage_graph import least_tails, spread_obstacles, topological_order
from maestro_solver.stage_options import NO_TIES, StageOptions, Ties

_Name = TypeVar("_Name", bound=Hashable)
_RESIDENT = frozenset({ReplicaPhase.LOADING, ReplicaPhase.READY, ReplicaPhase.DRAINING})


def discretize(snapshot: Snapshot, grid: Grid, horizon_s: float, ties: Ties = NO_TIES) -> Instance:
    """The snapshot on ``grid``, without the options that ``ties`` keep stages from.

    Raises InvalidInputError where the snapshot contradicts itself: a stage of an unknown workflow, a replica of an
    unknown model or where no group for it begins, a name used twice, or predecessors in a circle.
    """
    return Discretization(snapshot, grid, ties).instance(max(1, grid.ticks_up(horizon_s)))


class Discretization:
    """The positions that the parts of an instance refer to each other by, and the rules of rounding.

    Raises InvalidInputError as :func:`discretize` does.
    """

    def __init__(self, snapshot: Snapshot, grid: Grid, ties: Ties = NO_TIES) -> None:
        self.snapshot = snapshot
        self.grid = grid
        self.clusters = tuple(dict.fromkeys(found.cluster for found in snapshot.accelerators))
        self.nodes = tuple(dict.fromkeys((found.cluster, found.node) for found in snapshot.accelerators))
        self.accelerator_at = _positions("accelerators", [found.name for found in snapshot.accelerators])
        self.model_at = _positions("models", list(snapshot.models))
        self.specs = tuple(snapshot.models.values())
        self.workflow_at = _positions("workflows", [found.id for found in snapshot.workflows])
        self.stage_at = _positions("waiting", [found.key for found in snapshot.waiting])
        self.groups = Groups(snapshot, self.model_at, self.accelerator_at)
        self.running = {found.key: found for found in snapshot.running}
        self.replicas = tuple(self._replicas())
        self.load = self._loads()
        self._options = StageOptions(snapshot, grid, self.groups, self.replicas, self.load, ties)

    def instance(self, horizon: int) -> Instance:
        """The parts put together."""
        stages = self._stages()
        successors: list[list[int]] = [[] for _ in stages]
        for position, stage in enumerate(stages):
            for before in stage.predecessors:
                successors[before].append(position)
        return Instance(
            snapshot=self.snapshot,
            grid=self.grid,
            horizon=horizon,
            accelerators=tuple(self._accelerators()),
            models=tuple(self._models()),
            clusters=self.clusters,
            workflows=tuple(self._workflows()),
            stages=stages,
            successors=tuple(tuple(found) for found in successors),
            replicas=self.replicas,
            running=tuple(self._running()),
            load=self.load,
            link={pair: self._link(pair) for pair in self.load},
            link_free=self._link_free(),
            pinned=frozenset(self._pinned()),
            network_delay=self.grid.ticks_up(self.snapshot.network_delay_s),
            kept_places=places_of(self.snapshot.in_force, self.stage_at, self.model_at, self.accelerator_at),
            kept_loads=loads_of(self.snapshot.in_force, self.model_at, self.accelerator_at, self.load),
            first=going_first(self.snapshot),
            groups=self.groups.members_of,
        )

    def _accelerators(self) -> Iterator[GridAccelerator]:
        forced = set(self._in_use())
        for found in self.snapshot.accelerators:
            yield GridAccelerator(
                name=found.name,
                node=self.nodes.index((found.cluster, found.node)),
                cluster=self.clusters.index(found.cluster),
                memory=self.grid.units_down(found.memory_bytes),
                slots=found.slots,
                elastic=found.kv_elastic,
                forced=found.name in forced,
            )

    def _in_use(self) -> Iterator[str]:
        """The accelerators on which a stage runs or a model loads now."""
        for running in self.snapshot.running:
            if running.accelerator is not None:
                yield from self.snapshot.members(running.model or "", running.accelerator)
        for found in self.snapshot.accelerators:
            for replica in found.replicas:
                if replica.phase is ReplicaPhase.LOADING:
                    yield from self.snapshot.members(replica.model, found.name)

    def _models(self) -> Iterator[GridModel]:
        for name, model in self.snapshot.models.items():
            yield GridModel(
                name=name,
                memory=self._held(model, model.kv_pool_bytes),
                elastic_memory=self._held(model, 0),
                pool=self.grid.units_down(model.kv_pool_bytes),
                pool_bytes=model.kv_pool_bytes,
                max_batch=model.max_batch,
            )

    def _held(self, model: ModelSpec, pool_bytes: int) -> int:
        """What a replica with a pool of that size holds of each of its accelerators."""
        return self.grid.units_up(model.resident_share_bytes(pool_bytes))

    def _replicas(self) -> Iterator[GridReplica]:
        for position, accelerator in enumerate(self.snapshot.accelerators):
            for replica in accelerator.replicas:
                if replica.phase in _RESIDENT:
                    yield self._replica(position, replica)

    def _replica(self, position: int, replica: ReplicaState) -> GridReplica:
        if replica.model not in self.model_at:
            raise InvalidInputError(f"accelerators[{position}].replicas", "names an unknown model", value=replica.model)
        where = (self.snapshot.accelerators[position].name, replica.model)
        if not self.groups.may_hold(self.model_at[replica.model], position):
            raise InvalidInputError(
                f"accelerators[{position}].replicas", "is where no group for the model begins", value=replica.model
            )
        serves = replica.phase is not ReplicaPhase.LOADING
        ends = [
            found.remaining_s for found in self.snapshot.running if serves and (found.accelerator, found.model) == where
        ]
        return GridReplica(
            accelerator=position,
            model=self.model_at[replica.model],
            ready=max(0, self.grid.ticks_up(replica.ready_in_s)),
            busy_until=max(0, self.grid.ticks_up(max(ends, default=0.0))),
            memory=self._held(self.snapshot.models[replica.model], replica.kv_pool_bytes),
            pool=self.grid.units_down(replica.kv_pool_bytes),
            draining=replica.phase is ReplicaPhase.DRAINING,
            ready_s=replica.ready_in_s,
            pool_bytes=replica.kv_pool_bytes,
        )

    def _loads(self) -> dict[tuple[int, int], int]:
        """Load times of the pairs that are known and that fit empty accelerators."""
        found = {}
        for (model, accelerator), load_s in self.snapshot.load_s.items():
            if model not in self.model_at or accelerator not in self.accelerator_at:
                continue
            pair = (self.model_at[model], self.accelerator_at[accelerator])
            if self.groups.may_hold(*pair) and self._fits(*pair):
                found[pair] = max(1, self.grid.ticks_up(load_s))
        return found

    def _fits(self, model: int, accelerator: int) -> bool:
        """Whether a new replica fits its accelerators when they hold nothing else."""
        states, spec = self.snapshot.accelerators, self.specs[model]
        held = self._held(spec, 0 if states[accelerator].kv_elastic else spec.kv_pool_bytes)
        members = self.groups.members(model, accelerator)
        return all(held <= self.grid.units_down(states[member].memory_bytes) for member in members)

    def _link(self, pair: tuple[int, int]) -> int:
        """How long a load reads weights; its engine starts without the link, or is only woken up."""
        model, accelerator = self.specs[pair[0]], self.snapshot.accelerators[pair[1]]
        load_s = self.snapshot.load_s[model.name, accelerator.name]
        start_s = engine_start_s(model, accelerator.kind)
        return max(1, self.grid.ticks_up(load_s - start_s if load_s > start_s else load_s))

    def _link_free(self) -> tuple[int, ...]:
        free = [0] * len(self.nodes)
        for replica in self.replicas:
            accelerator = self.snapshot.accelerators[replica.accelerator]
            node = self.nodes.index((accelerator.cluster, accelerator.node))
            read_s = replica.ready_s - engine_start_s(self.specs[replica.model], accelerator.kind)
            free[node] = max(free[node], self.grid.ticks_up(read_s))
        return tuple(free)

    def _pinned(self) -> Iterator[tuple[int, int]]:
        for name, model in self.snapshot.models.items():
            pinned_on = model.pinned_on & self.accelerator_at.keys()
            yield from ((self.model_at[name], self.accelerator_at[accelerator]) for accelerator in pinned_on)

    def _running(self) -> Iterator[GridRunning]:
        for found in self.snapshot.running:
            accelerator = self.accelerator_at.get(found.accelerator or "", NOWHERE)
            model = self.model_at.get(found.model or "", NOWHERE)
            end = max(0, self.grid.ticks_up(found.remaining_s))
            yield GridRunning(accelerator, model, end, self.reserved(model, accelerator, found.kv_bytes))

    def _workflows(self) -> Iterator[GridWorkflow]:
        ends: dict[str, float] = defaultdict(float)
        for found in self.snapshot.running:
            ends[found.key.workflow] = max(ends[found.key.workflow], found.remaining_s)
        for workflow in self.snapshot.workflows:
            yield GridWorkflow(
                id=workflow.id,
                deadline=self.grid.ticks_down(workflow.deadline_s),
                weight=workflow.weight,
                running_end=self.grid.ticks_up(ends[workflow.id]),
            )

    def _stages(self) -> tuple[GridStage, ...]:
        options = {stage.key: self.options_of(stage) for stage in self.snapshot.waiting}
        order = topological_order(self.snapshot)
        durations = {stage.key: self._fastest(stage, options[stage.key]) for stage in self.snapshot.waiting}
        tails = least_tails(order, durations)
        without_place = Reason.NO_ACCELERATOR_FITS if self.snapshot.accelerators else Reason.NO_NODE
        homeless = {
            stage.key: without_place
            for stage in self.snapshot.waiting
            if stage.external_s is None and not options[stage.key]
        }
        obstacles = spread_obstacles(order, homeless, self.running.keys())
        return tuple(
            GridStage(
                key=stage.key,
                workflow=self._workflow_of(position, stage),
                options=options[stage.key],
                predecessors=tuple(self.stage_at[key] for key in stage.predecessors if key in self.stage_at),
                release=self.release_of(stage),
                external=None if stage.external_s is None else max(0, self.grid.ticks_up(stage.external_s)),
                tail=tails[stage.key],
                obstacle=obstacles.get(stage.key),
            )
            for position, stage in enumerate(self.snapshot.waiting)
        )

    def _fastest(self, stage: WaitingStage, options: tuple[GridOption, ...]) -> int:
        """A tool stage's duration, or the least of an LLM stage's; 0 where nothing can hold it."""
        if stage.external_s is not None:
            return max(0, self.grid.ticks_up(stage.external_s))
        return min((option.duration for option in options), default=0)

    def _workflow_of(self, position: int, stage: WaitingStage) -> int:
        if stage.key.workflow not in self.workflow_at:
            raise InvalidInputError(
                f"waiting[{position}].key", "names a workflow that is not in workflows", value=stage.key.workflow
            )
        return self.workflow_at[stage.key.workflow]

    def options_of(self, stage: WaitingStage) -> tuple[GridOption, ...]:
        """The stage's options on every accelerator that can ever hold it; one about to start keeps its place."""
        return self._options.of(stage)

    def reserved(self, model: int, accelerator: int, kv_bytes: int) -> int:
        """What a stage holds of each accelerator of its replica where KV is elastic, else of the replica's pool."""
        if NOWHERE not in {model, accelerator} and self.snapshot.accelerators[accelerator].kv_elastic:
            kv_bytes = self.specs[model].share_bytes(kv_bytes)
        return self.grid.units_up(kv_bytes)

    def release_of(self, stage: WaitingStage) -> tuple[int, ...]:
        """The earliest start per cluster, and for a stage that runs nowhere; waiting predecessors left out."""
        return tuple(self._release_in(stage, cluster) for cluster in (*self.clusters, None))

    def _release_in(self, stage: WaitingStage, cluster: str | None) -> int:
        """The earliest start in a cluster as far as everything but waiting predecessors decides."""
        delay = self.grid.ticks_up(self.snapshot.network_delay_s) if cluster is not None else 0
        release = max(0, self.grid.ticks_up(stage.not_before_s))
        if stage.inputs_from - {cluster}:
            release = max(release, delay)
        for key in stage.predecessors:
            if key in self.running:
                running = self.running[key]
                at = self.accelerator_at.get(running.accelerator or "")
                crosses = at is not None and self.snapshot.accelerators[at].cluster != cluster
                release = max(release, self.grid.ticks_up(running.remaining_s) + (delay if crosses else 0))
        return release


def _positions(field: str, names: list[_Name]) -> dict[_Name, int]:
    """Where each name stands; each may stand once."""
    found = {name: position for position, name in enumerate(names)}
    if len(found) != len(names):
        twice = next(name for position, name in enumerate(names) if found[name] != position)
        raise InvalidInputError(field, "a name stands twice", value=str(twice))
    return found
