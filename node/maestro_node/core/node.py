"""The rules of one node: which commands it obeys, and what they change in its ledgers.

Every command either changes the state as a whole or raises and changes nothing. Invariants: no accelerator is charged
more than its memory, host memory holds no more sleeping weights than its budget, and no replica with a running attempt
is unloaded or put to sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec, NodeSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_node.core.attempts import Attempt, AttemptState, AttemptTable
from maestro_node.core.ledger import AcceleratorLedger
from maestro_node.core.peers import check_peers
from maestro_node.core.refusals import DoesNotFitError, NotReadyError, StaleCommandError
from maestro_node.core.replica import Replica, ReplicaKey

KEPT_RESULTS = 4096
"""Ended attempts that wait for acknowledgement, unless told otherwise."""


class NodeCore:
    """State of one node. Owned by one thread; times are seconds on the caller's monotonic (or virtual) clock."""

    def __init__(self, spec: NodeSpec, models: Mapping[str, ModelSpec], kept_results: int = KEPT_RESULTS) -> None:
        self.spec = spec
        self.attempts = AttemptTable(kept_results)
        self._models = dict(models)
        self._ledgers = {item.name: AcceleratorLedger(item) for item in spec.accelerators}
        self._last_generation: dict[tuple[str, str], int] = {}
        self._scheduler_epoch = 0
        self._version = 0

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    @property
    def scheduler_epoch(self) -> int:
        """The largest epoch that was obeyed."""
        return self._scheduler_epoch

    @property
    def ledgers(self) -> Mapping[str, AcceleratorLedger]:
        """The accelerators' ledgers, by name."""
        return self._ledgers

    @property
    def host_bytes(self) -> int:
        """Host memory that sleeping weights take, bytes."""
        return sum(item.host_bytes for ledger in self._ledgers.values() for item in ledger.replicas.values())

    def obey(self, epoch: int) -> None:
        """Take note of a command's scheduler epoch; StaleCommandError where a newer scheduler was obeyed before."""
        if epoch < self._scheduler_epoch:
            raise StaleCommandError(
                f"scheduler_epoch {epoch} is older than {self._scheduler_epoch}, which this node obeys; "
                "another scheduler leads now"
            )
        if epoch > self._scheduler_epoch:
            self._scheduler_epoch = epoch
            self._version += 1

    def replica(self, key: ReplicaKey) -> Replica:
        """The replica in this very life; StaleCommandError where there is none."""
        return self._ledger(key.accelerator).find(key)

    def begin_load(self, key: ReplicaKey, kv_pool_bytes: int, now_s: float, peers: tuple[str, ...] = ()) -> bool:
        """Charge a new replica, which is LOADING from now on; False where this generation was begun before.

        ``peers`` are the other accelerators that it takes. Raises InvalidInputError (unknown model or accelerator,
        wrong pool or peers), StaleCommandError (an older generation, or the former one is still there) and
        DoesNotFitError, where any of the accelerators has no room for its share.
        """
        ledger = self._ledger(key.accelerator)
        model = self._loadable(key, ledger, kv_pool_bytes)
        check_peers(self.spec, model, key.accelerator, peers)
        if not self._is_new_life(key, ledger):
            return False
        smallest_bytes = min(self._ledger(name).spec.memory_bytes for name in (key.accelerator, *peers))
        elastic_bytes = max(0, smallest_bytes - model.resident_share_bytes()) * model.tensor_parallel_size
        budget_bytes = kv_pool_bytes or elastic_bytes
        self._put_replica(
            Replica(key, model, ReplicaPhase.LOADING, kv_pool_bytes, budget_bytes, now_s, peers=peers),
        )
        self._last_generation[key.accelerator, key.model] = key.generation
        return True

    def mark_ready(self, key: ReplicaKey, now_s: float) -> None:
        """A load or a wake-up has ended well: the replica serves."""
        found = self.replica(key)
        found.require(ReplicaPhase.LOADING)
        self._put_replica(
            replace(
                found, phase=ReplicaPhase.READY, load_took_s=max(0.0, now_s - found.load_began_s), in_host_memory=False
            )
        )

    def begin_unload(self, key: ReplicaKey) -> bool:
        """Take an idle replica out of service; False where nothing of it is left to stop.

        Its memory stays charged until :meth:`finish_unload`. Raises NotReadyError where it is busy.
        """
        ledger = self._ledger(key.accelerator)
        if (
            key.model not in ledger.replicas
            and self._last_generation.get((key.accelerator, key.model)) == key.generation
        ):
            return False
        found = ledger.find(key)
        if found.phase is ReplicaPhase.FAILED:
            self._change(found, lambda member: member.without_replica(key))
            return False
        found.require_idle()
        self._put_replica(replace(found, phase=ReplicaPhase.DRAINING))
        return True

    def finish_unload(self, key: ReplicaKey) -> None:
        """The engine is wholly gone: forget the replica and free its memory."""
        found = self.replica(key)
        found.require(ReplicaPhase.DRAINING)
        self._change(found, lambda member: member.without_replica(key))

    def fail(self, key: ReplicaKey, detail: str) -> tuple[str, ...]:
        """The engine is broken: end its running attempts as failed and return their ids.

        The memory stays charged until :meth:`finish_failure`.
        """
        found = self.replica(key)
        running = tuple(found.reservations)
        for attempt_id in running:
            self.end_attempt(attempt_id, AttemptState.FAILED)
        self._put_replica(replace(self.replica(key), phase=ReplicaPhase.DRAINING, detail=detail))
        return running

    def finish_failure(self, key: ReplicaKey) -> None:
        """The broken engine is wholly gone: free its memory; the replica stays as FAILED for people to see."""
        found = self.replica(key)
        found.require(ReplicaPhase.DRAINING)
        self._put_replica(replace(found, phase=ReplicaPhase.FAILED, on_device=False, in_host_memory=False))

    def begin_sleep(self, key: ReplicaKey) -> bool:
        """Take an idle replica out of service and charge its weights to host memory; False where it sleeps already."""
        found = self.replica(key)
        if found.phase is ReplicaPhase.SLEEPING:
            return False
        found.require(ReplicaPhase.READY)
        found.require_idle()
        if self.host_bytes + found.model.weights_bytes > self.spec.host_memory_bytes:
            raise DoesNotFitError(
                f"{key}: {found.model.weights_bytes} bytes of weights do not fit the host memory for sleeping replicas "
                f"({self.host_bytes} of {self.spec.host_memory_bytes} bytes taken); unload it, or a sleeping one",
                Reason.MEMORY_EXCEEDED,
            )
        self._put_replica(replace(found, phase=ReplicaPhase.DRAINING, in_host_memory=True))
        return True

    def finish_sleep(self, key: ReplicaKey) -> None:
        """The engine has left the device: free its device memory. NotReadyError where it broke down meanwhile."""
        found = self.replica(key)
        found.require(ReplicaPhase.DRAINING)
        if found.detail:
            raise NotReadyError(f"{key} broke down: {found.detail}", Reason.ENGINE_DIED)
        self._put_replica(replace(found, phase=ReplicaPhase.SLEEPING, on_device=False))

    def begin_wake(self, key: ReplicaKey, now_s: float) -> bool:
        """Charge the device again; False where the replica is awake or waking. DoesNotFitError where memory is short.

        It is LOADING until :meth:`mark_ready`.
        """
        found = self.replica(key)
        if found.phase in {ReplicaPhase.READY, ReplicaPhase.LOADING}:
            return False
        found.require(ReplicaPhase.SLEEPING)
        self._put_replica(replace(found, phase=ReplicaPhase.LOADING, on_device=True, load_began_s=now_s))
        return True

    def set_kv_budget(self, key: ReplicaKey, kv_budget_bytes: int) -> None:
        """Bound the reservations that are admitted from now on; running attempts keep theirs."""
        if kv_budget_bytes < 0:
            raise InvalidInputError("kv_budget_bytes", "has to be 0 or more", value=kv_budget_bytes)
        self._put_replica(replace(self.replica(key), kv_budget_bytes=kv_budget_bytes))

    def admit(self, attempt: Attempt) -> bool:
        """Reserve for a new attempt; False where the id is known already with the same request.

        Raises ConflictError, InvalidInputError, NotReadyError and DoesNotFitError, see the ledger.
        """
        if not attempt.id:
            raise InvalidInputError("attempt_id", "is empty", remedy="give every attempt an id of its own")
        if self.attempts.known(attempt.id, attempt.fingerprint) is not None:
            return False
        key, reserved_bytes = attempt.replica, attempt.reserved_bytes
        if reserved_bytes <= 0:
            raise InvalidInputError(
                "kv_reservation_bytes",
                "has to be positive",
                value=reserved_bytes,
                remedy="reserve (prompt + output tokens) x the model's KV bytes per token",
            )
        self._change(self.replica(key), lambda member: member.with_attempt(key, attempt.id, reserved_bytes))
        self.attempts.add(attempt)
        return True

    def end_attempt(self, attempt_id: str, state: AttemptState) -> tuple[str, ...]:
        """Return the attempt's reservation and keep its end; ids that are forgotten for it are returned.

        Nothing happens where it has ended before: the first end counts.
        """
        attempt = self.attempts.find(attempt_id)
        if attempt.state is not AttemptState.RUNNING:
            return ()
        key = attempt.replica
        self._change(self.replica(key), lambda member: member.without_attempt(key, attempt_id))
        return self.attempts.end(attempt_id, state)

    def acknowledge(self, attempt_ids: Iterable[str]) -> tuple[str, ...]:
        """Forget ended attempts and return their ids; unknown ids are ignored, ConflictError for a running one."""
        forgotten = self.attempts.acknowledge(attempt_ids)
        self._version += len(forgotten)
        return forgotten

    def _loadable(self, key: ReplicaKey, ledger: AcceleratorLedger, kv_pool_bytes: int) -> ModelSpec:
        """The model, where this accelerator could serve it with such a pool at all."""
        model = self._models.get(key.model)
        if model is None:
            known = ", ".join(sorted(self._models)) or "none"
            raise InvalidInputError(
                "replica.model", "is not a model of this node", value=key.model, remedy=f"use one of: {known}"
            )
        if ledger.spec.kind not in model.speeds:
            raise InvalidInputError(
                "replica.accelerator",
                f'is of kind "{ledger.spec.kind}", for which "{key.model}" has no speed',
                value=key.accelerator,
                remedy="add the kind to the model's speeds in the scenario, or use another accelerator",
            )
        if ledger.spec.kv_elastic and kv_pool_bytes:
            raise InvalidInputError("kv_pool_bytes", "has to be 0: KV is elastic here", value=kv_pool_bytes)
        if not ledger.spec.kv_elastic and kv_pool_bytes <= 0:
            raise InvalidInputError(
                "kv_pool_bytes",
                "has to be positive: KV is a fixed pool here",
                value=kv_pool_bytes,
                remedy=f"for example {model.kv_pool_bytes}, as the scenario says",
            )
        return model

    def _is_new_life(self, key: ReplicaKey, ledger: AcceleratorLedger) -> bool:
        """Whether the generation is to be started; False where it was, StaleCommandError where it cannot be."""
        last = self._last_generation.get((key.accelerator, key.model), 0)
        present = ledger.replicas.get(key.model)
        if key.generation == last and present is not None:
            return False
        if key.generation <= last:
            raise StaleCommandError(f"{key}: generation {last} was loaded before; use a larger one")
        if present is not None and present.phase is not ReplicaPhase.FAILED:
            raise StaleCommandError(f"{key}: generation {present.key.generation} is {present.phase}; unload it first")
        return True

    def _ledger(self, accelerator: str) -> AcceleratorLedger:
        """The accelerator's ledger; InvalidInputError where the node has no such accelerator."""
        ledger = self._ledgers.get(accelerator)
        if ledger is None:
            raise InvalidInputError(
                "replica.accelerator",
                f'is not on node "{self.spec.name}"',
                value=accelerator,
                remedy=f"use one of: {', '.join(self._ledgers)}",
            )
        return ledger

    def _put_replica(self, replica: Replica) -> None:
        """Take over a changed replica."""
        self._change(replica, lambda member: member.with_replica(replica))

    def _change(self, replica: Replica, change: Callable[[AcceleratorLedger], AcceleratorLedger]) -> None:
        """Change the ledgers of all accelerators that the replica takes, or where one refuses, none."""
        changed = [change(self._ledgers[name]) for name in (replica.key.accelerator, *replica.peers)]
        self._ledgers.update((ledger.spec.name, ledger) for ledger in changed)
        self._version += 1
