"""How and where a stage can run: one option for every accelerator that can ever hold it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from maestro.snapshot import Snapshot, WaitingStage
from maestro_solver.grid import Grid
from maestro_solver.instance import GridOption, GridReplica

_Pair = tuple[int, int]
"""A model and an accelerator, by position."""


class StageOptions:
    """The options of a snapshot's stages on the grid.

    ``replicas`` are those of the snapshot and ``loads`` the pairs that can be loaded. ``cluster_of`` ties workflows to
    a cluster: their stages have options there alone, if they have any there.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        grid: Grid,
        replicas: Sequence[GridReplica],
        loads: Mapping[_Pair, int],
        cluster_of: Mapping[str, str],
    ) -> None:
        self._snapshot = snapshot
        self._grid = grid
        self._cluster_of = cluster_of
        self._model_at = {name: position for position, name in enumerate(snapshot.models)}
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
        self._rooms: dict[_Pair, int] = defaultdict(lambda: -1)
        self._find_rooms(replicas, loads)

    def of(self, stage: WaitingStage) -> tuple[GridOption, ...]:
        """The stage's options; one that is about to start keeps its place."""
        place = self._committed.get(stage.key)
        cluster = None if place is not None else self._cluster_of.get(stage.key.workflow)
        options = tuple(self._possible(stage, cluster)) or tuple(self._possible(stage, None))
        return tuple(option for option in options if (option.model, option.accelerator) == place) or options

    def _possible(self, stage: WaitingStage, cluster: str | None) -> Iterator[GridOption]:
        """The options in one cluster, or anywhere."""
        for option in stage.options if stage.external_s is None else ():
            model = self._model_at.get(option.model)
            if model is None:
                continue
            kv = self._grid.units_up(option.kv_bytes)
            duration = max(1, self._grid.ticks_up(option.duration_s))
            for position in self._places.get((option.kind, cluster), ()):
                if kv <= self._rooms[model, position]:
                    yield GridOption(position, model, duration, kv, option.duration_s, option.kv_bytes)

    def _find_rooms(self, replicas: Sequence[GridReplica], loads: Mapping[_Pair, int]) -> None:
        """The largest reservation that a replica of each pair could ever hold; -1 where none can be."""
        specs = tuple(self._snapshot.models.values())
        accelerators, grid = self._snapshot.accelerators, self._grid
        for model, position in loads:
            memory = grid.units_down(accelerators[position].memory_bytes)
            elastic = memory - grid.units_up(specs[model].fixed_bytes)
            self._widen(model, position, elastic, grid.units_down(specs[model].kv_pool_bytes))
        for replica in replicas:
            if not replica.draining:
                memory = grid.units_down(accelerators[replica.accelerator].memory_bytes)
                self._widen(replica.model, replica.accelerator, memory - replica.memory, replica.pool)

    def _widen(self, model: int, position: int, elastic: int, pool: int) -> None:
        """Note what one replica of a pair could hold, by the kind of its KV."""
        accelerator = self._snapshot.accelerators[position]
        if accelerator.slots > 0 and tuple(self._snapshot.models.values())[model].max_batch > 0:
            room = elastic if accelerator.kv_elastic else pool
            self._rooms[model, position] = max(self._rooms[model, position], room)
