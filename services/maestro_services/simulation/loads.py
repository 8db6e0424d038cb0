"""Loads and unloads of one node: weights over its disk and its host link, then the engine's start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from maestro.errors import MaestroError
from maestro.fleet import ModelSpec
from maestro.snapshot import ReplicaPhase
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import Replica, ReplicaKey
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.engines.accelerators import SimulatedAccelerators, engine_name
from maestro_services.simulation.engines.link import SharedLink
from maestro_services.simulation.events import EventQueue
from maestro_services.simulation.tally import Tally


class NodeLoads:
    """Brings replicas up and takes them down, in the life of one instance of a node."""

    def __init__(  # noqa: PLR0913 - what a node is made of
        self,
        core: NodeCore,
        accelerators: Mapping[str, SimulatedAccelerators],
        models: Mapping[str, ModelSpec],
        engine_model: EngineModel,
        events: EventQueue,
        random: Random,
        tally: Tally,
        *,
        post: Callable[[on.Event], None],
        report: Callable[[], None],
        changed: Callable[[str], None],
    ) -> None:
        """``post`` tells the scheduler something, ``report`` everything; ``changed`` is told an accelerator's name."""
        self._core = core
        self._accelerators = accelerators
        self._models = models
        self._engine_model = engine_model
        self._events = events
        self._random = random
        self._tally = tally
        self._post = post
        self._report = report
        self._changed = changed
        self._disk = SharedLink[ReplicaKey](core.spec.disk_bytes_per_s)
        self._bus = SharedLink[ReplicaKey](core.spec.host_to_device_bytes_per_s)
        self._waking = set[ReplicaKey]()
        self._over = False

    def load(self, command: do.LoadReplica) -> None:
        """Begins a load, or refuses it as the node core says."""
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            begun = self._core.begin_load(key, command.kv_pool_bytes, self._events.now, command.peers)
        except MaestroError:
            self._refuse(command)
            return
        if begun:
            self._tally.cold_starts += 1
            factor = self._random.lognormvariate(0.0, self._engine_model.load_noise)
            size_bytes = self._models[command.model].weights_bytes * factor
            self._disk.begin(key, size_bytes, self._events.now)
            self._changed(key.accelerator)
            self._watch_disk()

    def unload(self, command: do.UnloadReplica) -> None:
        """Stops an idle engine, or refuses to as the node core says."""
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        asleep = not self._is_gone(key, ReplicaPhase.SLEEPING)
        try:
            begun = self._core.begin_unload(key)
        except MaestroError:
            self._refuse(command)
            return
        if begun:
            self._tally.swaps += not asleep
            self._leave_links(key)
            self._accelerators[key.accelerator].stop(engine_name(*key[:2]), self._events.now)
            self._changed(key.accelerator)
            self._events.after(self._engine_model.unload_s, lambda: self._unloaded(key))

    def put_to_sleep(self, command: do.SleepReplica) -> None:
        """Moves an idle engine's weights to host memory, or refuses to as the node core says."""
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            begun = self._core.begin_sleep(key)
        except MaestroError:
            self._refuse(command)
            return
        if begun:
            self._tally.swaps += 1
            self._accelerators[key.accelerator].stop(engine_name(*key[:2]), self._events.now)
            self._copy(key)

    def wake(self, command: do.WakeReplica) -> None:
        """Moves them back, or refuses to as the node core says."""
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            begun = self._core.begin_wake(key, self._events.now)
        except MaestroError:
            self._refuse(command)
            return
        if begun:
            self._tally.warm_starts += 1
            self._waking.add(key)
            self._copy(key)

    def has_engine(self, replica: Replica) -> bool:
        """Whether there is a process of the replica that could die."""
        return replica.phase in {ReplicaPhase.LOADING, ReplicaPhase.READY}

    def fail(self, key: ReplicaKey) -> None:
        """The replica's engine has died; its memory is free, and it is shown as failed, once it is wholly gone."""
        self._leave_links(key)
        self._changed(key.accelerator)
        self._events.after(self._engine_model.unload_s, lambda: self._failed(key))

    def end(self) -> None:
        """The node is gone: nothing comes of what was under way."""
        self._over = True

    def _refuse(self, command: do.LoadReplica | do.UnloadReplica | do.SleepReplica | do.WakeReplica) -> None:
        self._tally.refusals += 1
        refused = on.ReplicaCommandRefused(command.accelerator, command.model, command.generation)
        self._events.after(0.0, lambda: self._post(refused))

    def _leave_links(self, key: ReplicaKey) -> None:
        self._disk.cancel(key, self._events.now)
        self._bus.cancel(key, self._events.now)

    def _watch_disk(self) -> None:
        at_s = self._disk.next_end_at_s()
        if at_s is not None:
            self._events.at(at_s, self._look_at_disk)

    def _look_at_disk(self) -> None:
        for key in self._disk.advance(self._events.now):
            self._copy(key)
        self._watch_disk()

    def _copy(self, key: ReplicaKey) -> None:
        """The weights go over the host link, in whichever direction."""
        self._changed(key.accelerator)
        self._bus.begin(key, self._models[key.model].weights_bytes, self._events.now)
        self._watch_bus()

    def _watch_bus(self) -> None:
        at_s = self._bus.next_end_at_s()
        if at_s is not None:
            self._events.at(at_s, self._look_at_bus)

    def _look_at_bus(self) -> None:
        for key in self._bus.advance(self._events.now):
            if key in self._waking:
                self._waking.remove(key)
                self._become_ready(key)
            elif not self._is_gone(key, ReplicaPhase.DRAINING):
                self._core.finish_sleep(key)
                self._changed(key.accelerator)
                self._post(on.ReplicaAsleep(*key))
            else:
                self._start(key)
        self._watch_bus()

    def _start(self, key: ReplicaKey) -> None:
        """The engine starts with its weights on the device."""
        kind = self._core.ledgers[key.accelerator].spec.kind
        factor = self._random.lognormvariate(0.0, self._engine_model.load_noise)
        start_s = self._models[key.model].speeds[kind].start_s * factor
        self._events.after(start_s, lambda: self._become_ready(key))

    def _become_ready(self, key: ReplicaKey) -> None:
        if self._is_gone(key, ReplicaPhase.LOADING):
            return
        self._core.mark_ready(key, self._events.now)
        replica = self._core.replica(key)
        self._tally.load_s += replica.load_took_s or 0.0
        taken = (key.accelerator, *replica.peers)
        self._accelerators[key.accelerator].start(
            self._models[key.model], replica.kv_pool_bytes, engine_name(*key[:2]), taken
        )
        self._changed(key.accelerator)
        self._report()

    def _unloaded(self, key: ReplicaKey) -> None:
        if not self._is_gone(key, ReplicaPhase.DRAINING):
            self._core.finish_unload(key)
            self._changed(key.accelerator)
            self._post(on.ReplicaUnloaded(*key))

    def _failed(self, key: ReplicaKey) -> None:
        if not self._is_gone(key, ReplicaPhase.DRAINING):
            self._core.finish_failure(key)
            self._changed(key.accelerator)
            self._report()

    def _is_gone(self, key: ReplicaKey, phase: ReplicaPhase) -> bool:
        """Whether something has come between: the node is gone, or the replica, or it is not in the phase any more."""
        replica = self._core.ledgers[key.accelerator].replicas.get(key.model)
        return self._over or replica is None or replica.key != key or replica.phase is not phase
