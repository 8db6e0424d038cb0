"""Weights in host memory: evicted engines sleep there, as many as fit, and wake up far faster than they start.

What sleeps is a cache. Plans do not see it but in the shorter load time of its model: a sleeping engine leaves as soon
as its rest of device memory is wanted for a load, or its host memory for an engine that was used later.
"""

from __future__ import annotations

from maestro.fleet import ModelSpec, WeightTier
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.outcome import Outcome, SleepReplica, UnloadReplica, WakeReplica
from maestro_services.scheduler.core.replica_records import ReplicaRecord, SleepingReplica
from maestro_services.scheduler.core.state import SchedulerState


class Sleep:
    """Puts engines to sleep, wakes them, and has them leave."""

    def __init__(self, state: SchedulerState) -> None:
        """Works on the state alone."""
        self._state = state
        self._models = state.config.fleet.models

    def load_s(self, accelerator: AcceleratorRecord, model: ModelSpec) -> float:
        """Seconds until the model would serve: woken up where it sleeps, started where it does not."""
        sleeping = accelerator.sleeping.get(model.name)
        asleep = sleeping is not None and not sleeping.leaving
        return self._state.load_s(accelerator, model, WeightTier.HOST if asleep else WeightTier.DISK)

    def quickest_load_s(self, accelerator: AcceleratorRecord, model: ModelSpec) -> float:
        """No load of the model there takes less, whatever sleeps."""
        node = self._state.nodes[accelerator.node].spec
        return self._state.load_s(accelerator, model, WeightTier.HOST if node.engines_sleep else WeightTier.DISK)

    def return_s(self, accelerator: AcceleratorRecord, replica: ReplicaRecord) -> float:
        """Seconds until a replica would serve again if it were evicted now."""
        tier = WeightTier.HOST if self.can_sleep(accelerator, replica) else WeightTier.DISK
        return self._state.load_s(accelerator, self._models[replica.model], tier)

    def can_sleep(self, accelerator: AcceleratorRecord, replica: ReplicaRecord) -> bool:
        """Whether the replica would sleep rather than end.

        Not where KV is elastic: stages would have to wait there until what sleeps has left.
        """
        node = self._state.nodes[accelerator.node].spec
        weights_bytes = self._models[replica.model].weights_bytes
        fits = weights_bytes <= node.host_memory_bytes and not accelerator.spec.kv_elastic
        return node.engines_sleep and fits and not replica.stays_awake

    def evict(self, accelerator: AcceleratorRecord, replica: ReplicaRecord, outcome: Outcome) -> None:
        """Takes an idle replica off the device: to host memory if it can sleep, once others have left it for that."""
        place = (accelerator.node, accelerator.spec.name, replica.model, replica.generation)
        if not self.can_sleep(accelerator, replica):
            replica.phase = ReplicaPhase.DRAINING
            outcome.effects.append(UnloadReplica(*place))
        elif self._host_has_room(accelerator, self._models[replica.model], outcome):
            replica.phase = ReplicaPhase.DRAINING
            outcome.effects.append(SleepReplica(*place))

    def fall_asleep(self, accelerator: AcceleratorRecord, model: str, generation: int) -> None:
        """A node told that the replica sleeps; one that was told to wake up since does not count as asleep."""
        replica = accelerator.replicas.get(model)
        if replica is not None and replica.generation == generation and not replica.waking:
            self._state.hosts.remove(accelerator, model)
            accelerator.sleeping[model] = SleepingReplica(model, generation, replica.kv_pool_bytes, replica.last_used_s)

    def stay(self, accelerator: AcceleratorRecord, model: str, generation: int) -> None:
        """A node would not stop a sleeping engine: it sleeps on, and may be asked again."""
        sleeping = accelerator.sleeping.get(model)
        if sleeping is not None and sleeping.generation == generation:
            sleeping.leaving = False

    def wake(self, accelerator: AcceleratorRecord, model: str, ready_at_s: float, outcome: Outcome) -> int | None:
        """Brings a sleeping engine back and returns its generation; None where none sleeps."""
        sleeping = accelerator.sleeping.get(model)
        if sleeping is None or sleeping.leaving:
            return None
        del accelerator.sleeping[model]
        replica = ReplicaRecord(
            model, sleeping.generation, ReplicaPhase.LOADING, sleeping.kv_pool_bytes, ready_at_s, sleeping.last_used_s
        )
        replica.seen = replica.waking = True
        self._state.hosts.put(accelerator, replica)
        outcome.effects.append(WakeReplica(accelerator.node, accelerator.spec.name, model, sleeping.generation))
        return sleeping.generation

    def kept_bytes(self, accelerator: AcceleratorRecord, but: str) -> int:
        """What sleeping engines keep of the device, ``but``'s not counted: it would be woken up."""
        return sum(self._kept_bytes(sleeping) for _, sleeping in accelerator.sleepers() if sleeping.model != but)

    def clear_device(self, accelerator: AcceleratorRecord, wanted_bytes: int, keep: str, outcome: Outcome) -> bool:
        """Has engines other than ``keep``'s leave the accelerator, least recently used first; whether any are to."""
        others = [(a, s) for a, s in accelerator.sleepers() if s.model != keep and self._kept_bytes(s)]
        for keeper, sleeping in sorted(others, key=lambda found: _first_to_leave(found[1])):
            if wanted_bytes <= 0:
                break
            wanted_bytes -= self._kept_bytes(sleeping)
            self._leave(keeper, sleeping, outcome)
        return bool(others)

    def _kept_bytes(self, sleeping: SleepingReplica) -> int:
        """What a sleeping engine keeps of each of its accelerators."""
        model = self._models[sleeping.model]
        return model.share_bytes(model.sleeping_bytes)

    def _host_has_room(self, accelerator: AcceleratorRecord, model: ModelSpec, outcome: Outcome) -> bool:
        """Whether the weights fit the node's host memory now; the least recently used leave it where they do not."""
        asleep = [(a, s) for a in self._state.on_node(accelerator.node) for s in a.sleeping.values()]
        limit = self._state.nodes[accelerator.node].spec.host_memory_bytes
        taken = sum(self._models[sleeping.model].weights_bytes for _, sleeping in asleep)
        taken += sum(self._models[name].weights_bytes for name in self._between(accelerator.node))
        over_bytes = taken + model.weights_bytes - limit
        fits = over_bytes <= 0
        for place, sleeping in sorted(asleep, key=lambda found: _first_to_leave(found[1])):
            if over_bytes <= 0:
                break
            over_bytes -= self._models[sleeping.model].weights_bytes
            self._leave(place, sleeping, outcome)
        return fits

    def _between(self, node: str) -> list[str]:
        """Models of engines that fall asleep or wake up: their weights lie in host memory, too."""
        return [
            replica.model
            for accelerator in self._state.on_node(node)
            for replica in accelerator.replicas.values()
            if replica.waking or (replica.phase is ReplicaPhase.DRAINING and self.can_sleep(accelerator, replica))
        ]

    def _leave(self, accelerator: AcceleratorRecord, sleeping: SleepingReplica, outcome: Outcome) -> None:
        if not sleeping.leaving:
            sleeping.leaving = True
            outcome.effects.append(
                UnloadReplica(accelerator.node, accelerator.spec.name, sleeping.model, sleeping.generation)
            )


def _first_to_leave(sleeping: SleepingReplica) -> tuple[bool, float]:
    """Those that leave already, then the least recently used."""
    return not sleeping.leaving, sleeping.last_used_s
