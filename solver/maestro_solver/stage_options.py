"""How and where a stage can run: one option for every accelerator that can ever hold it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from maestro.snapshot import RunOption, Snapshot, WaitingStage
from maestro_solver.grid import Grid
from maestro_solver.grouping import Groups, Pair
from maestro_solver.instance import GridOption, GridReplica


@dataclass(frozen=True, slots=True)
class Ties:
    """What keeps stages from places where they could run.

    ``cluster_of``: a workflow's stages have options in that cluster alone, if they have any there. ``hosts``: by
    position of a model, the accelerators that it may run on; None for all.
    """

    cluster_of: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[int, Collection[int]] | None = None


NO_TIES = Ties()


class StageOptions:
    """The options of a snapshot's stages on the grid.

    ``replicas`` are those of the snapshot and ``loads`` the pairs that can be loaded. ``ties`` keep stages from
    some places.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        grid: Grid,
        groups: Groups,
        replicas: Sequence[GridReplica],
        loads: Mapping[Pair, int],
        ties: Ties,
    ) -> None:
        self._snapshot = snapshot
        self._grid = grid
        self._groups = groups
        self._ties = ties
        self._model_at = {name: position for position, name in enumerate(snapshot.models)}
        self._specs = tuple(snapshot.models.values())
        accelerator_at = {found.name: position for position, found in enumerate(snapshot.accelerators)}
        self._committed = {
            found.stage: (self._model_at.get(found.model), accelerator_at.get(found.accelerator))
            for found in snapshot.in_force.starts
            if found.committed
        }
        self._places: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for position, found in enumerate(snapshot.accelerators):
            self._places[found.kind, found.cluster].append(position)
            self._places[found.kind, None].append(position)
        self._is_stretched = any(found.stretch for found in snapshot.accelerators)
        self._rooms: dict[Pair, int] = defaultdict(lambda: -1)
        self._find_rooms(replicas, loads)

    def of(self, stage: WaitingStage) -> tuple[GridOption, ...]:
        """The stage's options; one that is about to start keeps its place."""
        place = self._committed.get(stage.key)
        cluster = None if place is not None else self._ties.cluster_of.get(stage.key.workflow)
        options = tuple(self._possible(stage, cluster)) or tuple(self._possible(stage, None))
        return tuple(option for option in options if (option.model, option.accelerator) == place) or options

    def _possible(self, stage: WaitingStage, cluster: str | None) -> Iterator[GridOption]:
        """The options in one cluster, or anywhere."""
        for option in stage.options if stage.external_s is None else ():
            model = self._model_at.get(option.model)
            if model is None:
                continue
            whole = self._grid.units_up(option.kv_bytes)
            share = self._grid.units_up(self._specs[model].share_bytes(option.kv_bytes))
            typical = max(1, self._grid.ticks_up(option.duration_s))
            hosts = None if self._ties.hosts is None else self._ties.hosts.get(model, ())
            for position in self._places.get((option.kind, cluster), ()):
                if hosts is not None and position not in hosts:
                    continue
                kv = share if self._snapshot.accelerators[position].kv_elastic else whole
                if kv <= self._rooms[model, position]:
                    duration, duration_s = typical, option.duration_s
                    if stage.reuse or self._is_stretched:
                        duration_s = self._takes_s(stage, option, position)
                        duration = max(1, self._grid.ticks_up(duration_s))
                    yield GridOption(position, model, duration, kv, duration_s, option.kv_bytes)

    def _takes_s(self, stage: WaitingStage, option: RunOption, position: int) -> float:
        """How long the stage takes there: KV that still lies there saves some of it, neighbours stretch the rest."""
        accelerator = self._snapshot.accelerators[position]
        place = (option.model, accelerator.name)
        saved_s = sum(found.saved_s for found in stage.reuse if (found.model, found.accelerator) == place)
        return max(0.0, option.duration_s - saved_s) * accelerator.stretch.get(option.model, 1.0)

    def _find_rooms(self, replicas: Sequence[GridReplica], loads: Mapping[Pair, int]) -> None:
        """The largest reservation that a replica of each pair could ever hold; -1 where none can be."""
        for model, position in loads:
            spec = self._specs[model]
            held = self._grid.units_up(spec.resident_share_bytes())
            self._widen(model, position, held, self._grid.units_down(spec.kv_pool_bytes))
        for replica in replicas:
            if not replica.draining:
                self._widen(replica.model, replica.accelerator, replica.memory, replica.pool)

    def _widen(self, model: int, position: int, held: int, pool: int) -> None:
        """Note what one replica of a pair could hold, by the kind of its KV."""
        states = self._snapshot.accelerators
        members = [states[member] for member in self._groups.members(model, position)]
        if min(member.slots for member in members) > 0 and self._specs[model].max_batch > 0:
            elastic = self._grid.units_down(min(member.memory_bytes for member in members)) - held
            room = elastic if states[position].kv_elastic else pool
            self._rooms[model, position] = max(self._rooms[model, position], room)
