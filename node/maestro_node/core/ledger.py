"""The memory ledger of one accelerator, as a frozen value.

Invariant: the sum of ``device_bytes`` over the replicas that take it never passes ``memory_bytes``, and the attempts
that run on it never outnumber its slots. Every change is a method that returns the next ledger or raises and changes
nothing. A replica that takes several accelerators stands, as the same value, in the ledger of each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from maestro.fleet import AcceleratorSpec
from maestro.reasons import Reason
from maestro_node.core.refusals import DoesNotFitError, StaleCommandError
from maestro_node.core.replica import Replica, ReplicaKey


@dataclass(frozen=True, slots=True)
class AcceleratorLedger:
    """An accelerator and the replicas on it, by model name.

    ``replicas`` are those that are named by this accelerator, ``guests`` those of others that have a share of it.
    """

    spec: AcceleratorSpec
    replicas: Mapping[str, Replica] = field(default_factory=dict)
    guests: Mapping[str, Replica] = field(default_factory=dict)

    def residents(self) -> tuple[Replica, ...]:
        """Every replica that takes this accelerator, alone or with others."""
        return (*self.replicas.values(), *self.guests.values())

    @property
    def charged_bytes(self) -> int:
        """Device memory that is spoken for, bytes."""
        return sum(replica.device_bytes for replica in self.residents())

    @property
    def free_bytes(self) -> int:
        """Device memory that is not, bytes."""
        return self.spec.memory_bytes - self.charged_bytes

    @property
    def running_attempts(self) -> int:
        """Attempts that run on any of its replicas."""
        return sum(len(replica.reservations) for replica in self.residents())

    def find(self, key: ReplicaKey) -> Replica:
        """The replica in this very life; StaleCommandError where there is none or another generation."""
        replica = self._named_by(key.accelerator).get(key.model)
        if replica is None:
            raise StaleCommandError(f'{key}: no replica of "{key.model}" is on "{key.accelerator}"; load it first')
        if replica.key.generation != key.generation:
            raise StaleCommandError(
                f"{key}: the replica's generation is {replica.key.generation}; read the node's status and plan again"
            )
        return replica

    def with_replica(self, replica: Replica) -> AcceleratorLedger:
        """The ledger with this replica in place of the model's former one; DoesNotFitError where memory is short."""
        changed = self._with(replica.key, replica)
        if changed.free_bytes < 0:
            raise DoesNotFitError(
                f'{replica.key}: "{self.spec.name}" has {self.spec.memory_bytes} bytes and would be charged '
                f"{changed.charged_bytes}; unload or drain another replica first, or reserve less",
                Reason.MEMORY_EXCEEDED,
            )
        return changed

    def without_replica(self, key: ReplicaKey) -> AcceleratorLedger:
        """The ledger after the replica is gone; NotReadyError where it is busy."""
        self.find(key).require_idle()
        return self._with(key, None)

    def with_attempt(self, key: ReplicaKey, attempt_id: str, reserved_bytes: int) -> AcceleratorLedger:
        """The ledger with the attempt admitted.

        Raises StaleCommandError, NotReadyError, and DoesNotFitError where slots, batch, KV limit or (elastic KV)
        device memory are used up.
        """
        admitted = self.find(key).with_reservation(attempt_id, reserved_bytes)
        if self.running_attempts >= self.spec.slots:
            raise DoesNotFitError(
                f'"{self.spec.name}": all {self.spec.slots} slots are taken; wait for a stage to end',
                Reason.WAITING_FOR_BATCH_SLOT,
            )
        return self.with_replica(admitted)

    def without_attempt(self, key: ReplicaKey, attempt_id: str) -> AcceleratorLedger:
        """The ledger after the attempt ended and its reservation was returned."""
        return self.with_replica(self.find(key).without_reservation(attempt_id))

    def _named_by(self, accelerator: str) -> Mapping[str, Replica]:
        """The replicas here that are named by this accelerator, or by others."""
        return self.replicas if accelerator == self.spec.name else self.guests

    def _with(self, key: ReplicaKey, replica: Replica | None) -> AcceleratorLedger:
        """The ledger with ``replica``, or nothing, in place of the model's former one."""
        changed = dict(self._named_by(key.accelerator))
        if replica is None:
            del changed[key.model]
        else:
            changed[key.model] = replica
        return replace(self, replicas=changed) if key.accelerator == self.spec.name else replace(self, guests=changed)
