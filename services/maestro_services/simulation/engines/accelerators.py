"""Simulated accelerators: replicas on one of them slow each other down, and share its memory where KV is elastic.

Accelerators that a tensor-parallel replica may take at once are simulated together, others each by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maestro.fleet import AcceleratorSpec, ModelSpec, NodeSpec
from maestro_services.simulation.engines.replica import SimulatedReplica
from maestro_services.simulation.engines.request import Request

_LEAST_WAIT_S = 1e-9
"""Rounding must not let time stand still."""

_WATERMARK = 0.01
"""The share of a pool that is kept free when a request is let in, so that it is not thrown out at once."""


class SimulatedAccelerators:
    """The replicas on accelerators of one kind. Times are virtual seconds that never go back."""

    def __init__(self, *specs: AcceleratorSpec) -> None:
        """Empty accelerators, one at least."""
        self.specs = specs
        self.preemptions = 0
        self.used_byte_s = 0.0
        self._memory_bytes = {spec.name: spec.memory_bytes for spec in specs}
        self._replicas: dict[str, SimulatedReplica] = {}
        self._on: dict[str, list[SimulatedReplica]] = {spec.name: [] for spec in specs}
        self._where: dict[str, SimulatedReplica] = {}
        self._now_s = 0.0
        self._count = 0

    @property
    def name(self) -> str:
        """The name of the first of them."""
        return self.specs[0].name

    def start(self, model: ModelSpec, pool_bytes: int, name: str = "", accelerators: Sequence[str] = ()) -> None:
        """A replica is ready. It is called by its model and takes them all, where nothing else is said."""
        taken = tuple(accelerators) or tuple(self._on)
        replica = SimulatedReplica(model, self.specs[0].kind, pool_bytes or None, taken)
        self._replicas[name or model.name] = replica
        for accelerator in taken:
            self._on[accelerator].append(replica)

    def stop(self, name: str, now_s: float) -> None:
        """A replica and all its requests are gone."""
        self._advance(now_s)
        replica = self._replicas.pop(name, None)
        if replica is not None:
            self._where = {request: found for request, found in self._where.items() if found is not replica}
            for accelerator in replica.accelerators:
                self._on[accelerator].remove(replica)
            self._account(replica)
            self._settle()

    def add(self, name: str, request: Request, now_s: float) -> None:
        """A request arrives at a replica that is ready."""
        self._advance(now_s)
        self._count += 1
        request.order = self._count
        replica = self._where[request.id] = self._replicas[name]
        replica.add(request)
        self._settle()

    def remove(self, request_id: str, now_s: float) -> int:
        """A request is dropped; returns the tokens it had produced."""
        self._advance(now_s)
        replica = self._where.pop(request_id, None)
        tokens = replica.remove(request_id) if replica is not None else 0
        self._settle()
        return tokens

    def advance(self, now_s: float) -> list[Request]:
        """Lets time pass up to the next change at most, and returns the requests that have ended."""
        self._advance(now_s)
        ended = [request for replica in self._replicas.values() for request in replica.take_ended(self._now_s)]
        for request in ended:
            del self._where[request.id]
        self._settle()
        return ended

    def next_change_at_s(self) -> float | None:
        """When to call ``advance`` next if nothing comes or goes before; None where nothing is under way."""
        waits = [replica.next_change_s() for replica in self._replicas.values() if replica.busy]
        if not waits:
            return None
        wait_s = min([*waits, *self._overflows_s()])
        return self._now_s + max(_LEAST_WAIT_S, wait_s) if wait_s < float("inf") else None

    def used_bytes(self, name: str) -> float:
        """The KV memory that a replica uses; 0 where there is none that serves."""
        replica = self._replicas.get(name)
        return replica.used_bytes if replica is not None else 0.0

    def used_gib_s(self) -> float:
        """The integral of the KV memory in use, GiB seconds."""
        running = sum(r.used_token_s * r.model.kv_bytes_per_token for r in self._replicas.values())
        return float((self.used_byte_s + running) / (1 << 30))

    def all_preemptions(self) -> int:
        """How often a request has lost its KV memory."""
        return self.preemptions + sum(replica.preemptions for replica in self._replicas.values())

    def _advance(self, now_s: float) -> None:
        if now_s > self._now_s:
            for replica in self._replicas.values():
                if replica.busy:
                    replica.advance(now_s - self._now_s)
            self._now_s = now_s

    def _settle(self) -> None:
        """Preempts where memory has run out, admits where there is some, and sets the rates anew."""
        for replica in self._replicas.values():
            if replica.busy:
                while self._free_bytes(replica) <= 0 and replica.preempt_last():
                    pass
                reserve = _WATERMARK * (replica.pool_bytes or sum(self._memory_bytes[a] for a in replica.accelerators))
                replica.admit(self._free_bytes(replica) - reserve)
        active = {name: sum(replica.busy for replica in here) for name, here in self._on.items()}
        for replica in self._replicas.values():
            if replica.busy:
                replica.set_rates(max(map(active.__getitem__, replica.accelerators)))

    def _free_bytes(self, replica: SimulatedReplica) -> float:
        """What a replica has left; where KV is elastic, as much as each of its accelerators has a share of."""
        if replica.pool_bytes is not None:
            return replica.pool_bytes - replica.used_bytes
        return min(self._free_on(name) for name in replica.accelerators) * len(replica.accelerators)

    def _free_on(self, accelerator: str) -> float:
        held = sum(r.model.resident_share_bytes() + r.used_share_bytes for r in self._on[accelerator])
        return self._memory_bytes[accelerator] - held

    def _overflows_s(self) -> list[float]:
        """Seconds until pools are full, at the present rates."""
        waits = []
        for replica in self._replicas.values():
            if not replica.busy:
                continue
            if replica.pool_bytes is not None:
                rooms = [(self._free_bytes(replica), replica.growth_bytes_per_s)]
            else:
                rooms = [(self._free_on(name), self._elastic_growth(name)) for name in replica.accelerators]
            waits += [free / growth if free > 0 else float("inf") for free, growth in rooms if growth > 0]
        return waits

    def _elastic_growth(self, accelerator: str) -> float:
        """How fast what replicas use of an accelerator grows."""
        elastic = (r for r in self._on[accelerator] if r.pool_bytes is None)
        return sum(r.growth_bytes_per_s / len(r.accelerators) for r in elastic)

    def _account(self, replica: SimulatedReplica) -> None:
        """Keeps what a replica that goes has used."""
        self.used_byte_s += replica.used_token_s * replica.model.kv_bytes_per_token
        self.preemptions += replica.preemptions


def engine_name(accelerator: str, model: str) -> str:
    """What a replica is called among those of several accelerators."""
    return f"{model}@{accelerator}"


def simulated(node: NodeSpec, models: Mapping[str, ModelSpec]) -> dict[str, SimulatedAccelerators]:
    """Empty simulated accelerators, by the name of each; those that share a model are simulated together."""
    together = {spec.name: {spec.name} for spec in node.accelerators}
    for model in models.values():
        for group in node.groups_of(model.tensor_parallel_size, model.speeds):
            joined = set().union(*(together[spec.name] for spec in group))
            together.update((name, joined) for name in joined)
    found: dict[str, SimulatedAccelerators] = {}
    for spec in node.accelerators:
        if spec.name not in found:
            joined = together[spec.name]
            made = SimulatedAccelerators(*(other for other in node.accelerators if other.name in joined))
            found.update((name, made) for name in joined)
    return {spec.name: found[spec.name] for spec in node.accelerators}
