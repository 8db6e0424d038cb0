"""A simulated accelerator: its replicas slow each other down, and share its memory where KV is elastic."""

from __future__ import annotations

from maestro.fleet import AcceleratorSpec, ModelSpec
from maestro_services.simulation.engines.replica import SimulatedReplica
from maestro_services.simulation.engines.request import Request

_LEAST_WAIT_S = 1e-9
"""Rounding must not let time stand still."""

_WATERMARK = 0.01
"""The share of a pool that is kept free when a request is let in, so that it is not thrown out at once."""


class SimulatedAccelerator:
    """The replicas on one accelerator. Times are virtual seconds that never go back."""

    def __init__(self, spec: AcceleratorSpec) -> None:
        """An empty accelerator."""
        self.spec = spec
        self.preemptions = 0
        self.used_byte_s = 0.0
        self._replicas: dict[str, SimulatedReplica] = {}
        self._where: dict[str, SimulatedReplica] = {}
        self._now_s = 0.0
        self._count = 0

    def start(self, model: ModelSpec, pool_bytes: int) -> None:
        """A replica is ready."""
        self._replicas[model.name] = SimulatedReplica(model, self.spec.kind, pool_bytes or None)

    def stop(self, model: str, now_s: float) -> None:
        """A replica and all its requests are gone."""
        self._advance(now_s)
        replica = self._replicas.pop(model, None)
        if replica is not None:
            self._where = {name: found for name, found in self._where.items() if found is not replica}
            self._account(replica)
            self._settle()

    def add(self, model: str, request: Request, now_s: float) -> None:
        """A request arrives at a replica that is ready."""
        self._advance(now_s)
        self._count += 1
        request.order = self._count
        replica = self._where[request.id] = self._replicas[model]
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

    def used_bytes(self, model: str) -> float:
        """The KV memory that a model's replica uses; 0 where there is none that serves."""
        replica = self._replicas.get(model)
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
                reserve = _WATERMARK * (replica.pool_bytes or self.spec.memory_bytes)
                replica.admit(self._free_bytes(replica) - reserve)
        active = sum(replica.busy for replica in self._replicas.values())
        for replica in self._replicas.values():
            if replica.busy:
                replica.set_rates(active)

    def _free_bytes(self, replica: SimulatedReplica) -> float:
        if replica.pool_bytes is not None:
            return replica.pool_bytes - replica.used_bytes
        held = sum(other.model.fixed_bytes + other.used_bytes for other in self._replicas.values())
        return self.spec.memory_bytes - held

    def _overflows_s(self) -> list[float]:
        """Seconds until pools are full, at the present rates."""
        waits = []
        for replica in self._replicas.values():
            growth = replica.growth_bytes_per_s if replica.pool_bytes is not None else self._elastic_growth()
            if replica.busy and growth > 0:
                free = self._free_bytes(replica)
                waits.append(free / growth if free > 0 else float("inf"))
        return waits

    def _elastic_growth(self) -> float:
        return sum(r.growth_bytes_per_s for r in self._replicas.values() if r.pool_bytes is None)

    def _account(self, replica: SimulatedReplica) -> None:
        """Keeps what a replica that goes has used."""
        self.used_byte_s += replica.used_token_s * replica.model.kv_bytes_per_token
        self.preemptions += replica.preemptions
