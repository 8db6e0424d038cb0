"""What a snapshot's replicas mean for a shop, and what a replica of each model would be on each accelerator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maestro_solver.instance import NOWHERE, GridReplica, Instance
from maestro_solver.shop.data import CANNOT, FAR, Integers


class Replicas:
    """By (accelerator, model), as :class:`~maestro_solver.shop.data.Shop` names them, and what is there at the start.

    ``room`` (G, M) is the largest KV reservation that a replica could ever hold, -1 where none can be. ``serving`` are
    the residents and ``holds`` the holds that :func:`~maestro_solver.shop.timeline.begin` takes. ``position_of`` is the
    snapshot's replica behind a serving pair, ``left_out`` are those that are not in the shop. A replica that differs
    from what a load would bring (by its pool, say) cannot be loaded again once it has left.
    """

    def __init__(self, instance: Instance, closed: frozenset[int]) -> None:
        """``closed`` are the accelerators that the shop leaves as they are."""
        self._instance = instance
        self._closed = closed
        self.held = self._by_pair(instance.memory_of)
        self.pool = self._by_pair(instance.pool_of)
        self.batch = self._by_pair(lambda model, _: instance.models[model].max_batch)
        self.load = self._by_pair(self._load)
        self.link_time = self._by_pair(lambda model, at: instance.link.get((model, at), 0))
        self.loads_wanted = self._by_pair(lambda model, at: instance.kept_loads.get((model, at), 0))
        self.first_load = self._by_pair(lambda _, at: instance.link_free[instance.accelerators[at].node])
        self.pinned = self._by_pair(lambda model, at: (model, at) in instance.pinned)
        self.limited = self._by_pair(self._is_limited)
        self.idle = np.zeros_like(self.held)
        self.serving: list[tuple[int, int, int, int, int]] = []
        self.holds: list[tuple[int, int, int, int, int, int]] = []
        self.position_of: dict[tuple[int, int], int] = {}
        self.left_out: list[int] = []
        for position, replica in enumerate(instance.replicas):
            if replica.accelerator in closed:
                self.left_out.append(position)
            elif replica.draining:
                self._drain(replica)
                self.left_out.append(position)
            else:
                self._serve(replica)
                self.position_of[replica.accelerator, replica.model] = position
        self._hold_running()
        self.room = self._by_pair(self._room)

    def _by_pair(self, value: Callable[[int, int], int]) -> Integers:
        """An array of what a function tells of every model and accelerator."""
        shape = (len(self._instance.accelerators), len(self._instance.models))
        found = [value(model, accelerator) for accelerator in range(shape[0]) for model in range(shape[1])]
        return np.array(found, dtype=np.int64).reshape(shape)

    def _load(self, model: int, accelerator: int) -> int:
        if not self._closed.isdisjoint(self._instance.members(model, accelerator)):
            return CANNOT
        return self._instance.load.get((model, accelerator), CANNOT)

    def _is_limited(self, model: int, accelerator: int) -> bool:
        """Whether the batch or the pool of a replica binds before its accelerators do."""
        found = self._instance.accelerators[accelerator]
        return not found.elastic or self._instance.models[model].max_batch < found.slots

    def _drain(self, replica: GridReplica) -> None:
        """It holds its memory until it is idle; only then the same model can be loaded again."""
        g, m, idle = replica.accelerator, replica.model, max(replica.ready, replica.busy_until)
        for member in self._instance.members(m, g):
            self.holds.append((member, m, idle, replica.memory, 0, 0))
        self.first_load[g, m] = max(self.first_load[g, m], idle)

    def _serve(self, replica: GridReplica) -> None:
        """It serves once it is ready, and leaves once it is idle, or never."""
        g, m = replica.accelerator, replica.model
        self.idle[g, m] = max(replica.ready, replica.busy_until)
        if (replica.memory, replica.pool if self.pool[g, m] else 0) != (self.held[g, m], self.pool[g, m]):
            self.held[g, m], self.pool[g, m], self.load[g, m] = replica.memory, replica.pool, CANNOT
        end = FAR if self.pinned[g, m] else int(self.idle[g, m])
        self.serving.append((g, m, replica.ready, end, int(self.held[g, m])))
        for peer in self._instance.members(m, g)[1:]:
            self.holds.append((peer, m, end, int(self.held[g, m]), 0, 0))

    def _hold_running(self) -> None:
        for running in self._instance.running:
            if running.accelerator == NOWHERE or running.accelerator in self._closed:
                continue
            elastic = self._instance.accelerators[running.accelerator].elastic
            device, pool = (running.kv, 0) if elastic else (0, running.kv)
            for member in self._instance.members(running.model, running.accelerator):
                of_pool = pool if member == running.accelerator else 0
                self.holds.append((member, running.model, running.end, device, of_pool, 1))

    def _room(self, model: int, accelerator: int) -> int:
        found = self._instance.accelerators[accelerator]
        serves = (accelerator, model) in self.position_of
        if not serves and self.load[accelerator, model] == CANNOT:
            return -1
        members = self._instance.members(model, accelerator)
        least = min(self._instance.accelerators[member].memory for member in members)
        elastic = least - int(self.held[accelerator, model])
        return elastic if found.elastic else int(self.pool[accelerator, model])
