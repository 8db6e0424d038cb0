"""One replica as the ledger sees it: its phase, what it charges, what its running attempts have reserved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from maestro.fleet import ModelSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_node.core.refusals import DoesNotFitError, NotReadyError


class ReplicaKey(NamedTuple):
    """Names one replica in one of its lives: a model on an accelerator, in a generation given by the scheduler."""

    accelerator: str
    model: str
    generation: int

    def __str__(self) -> str:
        """``model@accelerator#generation``, as people read it."""
        return f"{self.model}@{self.accelerator}#{self.generation}"


_WHY_NOT_READY = {
    ReplicaPhase.LOADING: Reason.WAITING_FOR_LOAD,
    ReplicaPhase.SLEEPING: Reason.WAITING_FOR_LOAD,
    ReplicaPhase.DRAINING: Reason.WAITING_FOR_DRAIN,
    ReplicaPhase.FAILED: Reason.ENGINE_DIED,
}


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica and the reservations of its running attempts (bytes, by attempt id).

    ``peers`` names the other accelerators that it takes, if it is tensor-parallel: each holds an equal share.
    ``kv_pool_bytes`` is 0 where KV is elastic. ``kv_budget_bytes`` bounds the reservations; the pool bounds them too.
    ``load_began_s`` is on the driver's clock; ``load_took_s`` is None until the replica was ready once.
    ``on_device``: it takes its whole device memory, which it does until its engine sleeps or is wholly gone.
    ``in_host_memory``: its weights (also) lie in host memory, because it sleeps, falls asleep or wakes up.
    """

    key: ReplicaKey
    model: ModelSpec
    phase: ReplicaPhase
    kv_pool_bytes: int
    kv_budget_bytes: int
    load_began_s: float
    load_took_s: float | None = None
    on_device: bool = True
    in_host_memory: bool = False
    detail: str = ""
    reservations: Mapping[str, int] = field(default_factory=dict)
    peers: tuple[str, ...] = ()

    @property
    def reserved_bytes(self) -> int:
        """KV reserved by running attempts, bytes."""
        return sum(self.reservations.values())

    @property
    def is_busy(self) -> bool:
        """Whether an attempt runs on it."""
        return bool(self.reservations)

    @property
    def device_bytes(self) -> int:
        """What it charges each of its accelerators: fixed bytes and its pool, or fixed bytes and elastic reservations.

        An engine that sleeps keeps a little of the device until it is gone.
        """
        share = self.model.share_bytes
        if not self.on_device:
            return 0 if self.phase is ReplicaPhase.FAILED else share(self.model.sleeping_bytes)
        reserved = 0 if self.kv_pool_bytes else sum(share(size) for size in self.reservations.values())
        return share(self.model.fixed_bytes + self.kv_pool_bytes) + reserved

    @property
    def host_bytes(self) -> int:
        """What it charges the node's host memory."""
        return self.model.weights_bytes if self.in_host_memory else 0

    @property
    def kv_limit_bytes(self) -> int:
        """Bound on the sum of reservations: the budget, and the pool where there is one."""
        return min(self.kv_budget_bytes, self.kv_pool_bytes) if self.kv_pool_bytes else self.kv_budget_bytes

    def with_reservation(self, attempt_id: str, reserved_bytes: int) -> Replica:
        """The replica after the attempt was admitted.

        Raises NotReadyError unless READY, DoesNotFitError where batch or KV limit would be passed.
        """
        self.require(ReplicaPhase.READY)
        if len(self.reservations) >= self.model.max_batch:
            raise DoesNotFitError(
                f"{self.key}: all {self.model.max_batch} places of its batch are taken; wait for a stage to end",
                Reason.WAITING_FOR_BATCH_SLOT,
            )
        free_bytes = self.kv_limit_bytes - self.reserved_bytes
        if reserved_bytes > free_bytes:
            raise DoesNotFitError(
                f"{self.key}: a KV reservation of {reserved_bytes} bytes does not fit the {free_bytes} bytes left of "
                f"{self.kv_limit_bytes}; wait, reserve less or raise the budget",
                Reason.WAITING_FOR_KV,
            )
        return replace(self, reservations={**self.reservations, attempt_id: reserved_bytes})

    def without_reservation(self, attempt_id: str) -> Replica:
        """The replica after the attempt ended."""
        left = {name: size for name, size in self.reservations.items() if name != attempt_id}
        return replace(self, reservations=left)

    def require(self, *phases: ReplicaPhase) -> None:
        """Raise NotReadyError unless the replica is in one of the phases."""
        if self.phase not in phases:
            wanted = " or ".join(phases)
            detail = f" ({self.detail})" if self.detail else ""
            raise NotReadyError(
                f"{self.key} is {self.phase}{detail}; it has to be {wanted}",
                _WHY_NOT_READY.get(self.phase, Reason.WAITING_FOR_DRAIN),
            )

    def require_idle(self) -> None:
        """Raise NotReadyError where an attempt runs on the replica."""
        if self.is_busy:
            raise NotReadyError(
                f"{self.key} runs {len(self.reservations)} attempt(s); wait for them or cancel them first",
                Reason.WAITING_FOR_DRAIN,
            )
