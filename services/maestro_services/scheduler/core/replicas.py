"""What becomes of replicas: they are seen, become ready, fail, and go. The node's own report decides."""

from __future__ import annotations

from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.events import (
    NodeStatusReported,
    ReplicaAsleep,
    ReplicaCommandRefused,
    ReplicaReport,
    ReplicaUnloaded,
)
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import Outcome, UnloadReplica
from maestro_services.scheduler.core.replica_records import ReplicaRecord, SleepingReplica
from maestro_services.scheduler.core.sleep import Sleep
from maestro_services.scheduler.core.state import SchedulerState

FIRST_LOAD_RETRY_S = 5.0
LONGEST_LOAD_RETRY_S = 120.0
UNLOAD_RETRY_S = 1.0


class Replicas:
    """Keeps the accelerators' replicas as their nodes report them."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, sleep: Sleep) -> None:
        """``lifecycle`` takes back the places on accelerators whose replicas are gone; ``sleep`` keeps what sleeps."""
        self._state = state
        self._lifecycle = lifecycle
        self._sleep = sleep

    def report(self, event: NodeStatusReported, now: float, outcome: Outcome) -> None:
        """Takes over a node's view. What it has shown before and shows no more is gone."""
        shown = {(report.accelerator, report.model): report for report in event.replicas}
        for report in event.replicas:
            accelerator = self._state.accelerators.get(report.accelerator)
            if accelerator is not None and accelerator.node == event.node:
                self._apply(accelerator, report, now, outcome)
        for accelerator in self._state.on_node(event.node):
            believed = [(r.model, r.generation) for r in accelerator.replicas.values() if r.seen]
            believed += [(s.model, s.generation) for s in accelerator.sleeping.values()]
            for model, generation in believed:
                present = shown.get((accelerator.spec.name, model))
                if present is None or present.generation != generation:
                    self._retire(accelerator, model, generation)
                    self._state.plan_wanted = True

    def unloaded(self, event: ReplicaUnloaded) -> None:
        """A replica is gone and its memory free."""
        accelerator = self._state.accelerators[event.accelerator]
        self._retire(accelerator, event.model, event.generation)
        self._state.touch_node(accelerator.node)

    def fell_asleep(self, event: ReplicaAsleep) -> None:
        """A replica's weights are in host memory, and its device memory is free."""
        accelerator = self._state.accelerators[event.accelerator]
        self._sleep.fall_asleep(accelerator, event.model, event.generation)
        self._state.touch_node(accelerator.node)

    def refused(self, event: ReplicaCommandRefused, now: float, outcome: Outcome) -> None:
        """A load was refused (tried again later, perhaps elsewhere), or to leave the device (the replica serves on).

        What cannot be woken up is stopped, and loaded like any other.
        """
        accelerator = self._state.accelerators[event.accelerator]
        self._sleep.stay(accelerator, event.model, event.generation)
        replica = accelerator.replicas.get(event.model)
        if replica is None or replica.generation != event.generation:
            return
        if replica.phase is ReplicaPhase.DRAINING:
            replica.phase = ReplicaPhase.READY
            replica.stays_awake = self._sleep.can_sleep(accelerator, replica)
            replica.no_unload_before_s = now + UNLOAD_RETRY_S
        elif not replica.seen or replica.waking:
            if replica.waking:
                place = (accelerator.node, event.accelerator, event.model, event.generation)
                outcome.effects.append(UnloadReplica(*place))
            self._load_failed(accelerator, event.model, event.generation, now)
        self._state.touch_node(accelerator.node)
        self._state.plan_wanted = True

    def end_load_pauses(self, now: float) -> None:
        """Loads that had failed may be planned again once their pause is over."""
        for accelerator in self._state.accelerators.values():
            for model, until_s in list(accelerator.no_load_before_s.items()):
                if until_s <= now:
                    del accelerator.no_load_before_s[model]
                    self._state.plan_wanted = True

    def forget(self, accelerator: AcceleratorRecord) -> None:
        """Nothing on the accelerator is believed any more."""
        self._state.hosts.clear(accelerator)
        accelerator.sleeping.clear()
        accelerator.retired.clear()

    def _apply(self, accelerator: AcceleratorRecord, report: ReplicaReport, now: float, outcome: Outcome) -> None:
        if report.generation <= accelerator.retired.get(report.model, -1):
            return
        known = accelerator.replicas.get(report.model)
        if known is not None and known.generation > report.generation:
            return
        if report.phase is ReplicaPhase.FAILED:
            self._load_failed(accelerator, report.model, report.generation, now)
            return
        if not self._is_wanted(accelerator, report):
            outcome.effects.append(
                UnloadReplica(accelerator.node, accelerator.spec.name, report.model, report.generation)
            )
            return
        if report.phase is ReplicaPhase.SLEEPING:
            self._see_asleep(accelerator, report, now)
            return
        if known is None or known.generation < report.generation:
            known = self._adopt(accelerator, report, now)
        known.seen = True
        if known.phase is not ReplicaPhase.DRAINING or report.phase is not ReplicaPhase.READY:
            known.phase = report.phase
        if report.phase is ReplicaPhase.READY:
            accelerator.load_failures.pop(report.model, None)
            known.ready_at_s = min(known.ready_at_s, now)
            known.waking = False

    def _is_wanted(self, accelerator: AcceleratorRecord, report: ReplicaReport) -> bool:
        """Whether the scenario still has the model for this kind of accelerator, and for as many at once."""
        spec = self._state.config.fleet.models.get(report.model)
        is_served = spec is not None and accelerator.spec.kind in spec.speeds
        return is_served and report.peers == accelerator.peers(report.model)

    def _adopt(self, accelerator: AcceleratorRecord, report: ReplicaReport, now: float) -> ReplicaRecord:
        """A replica that an earlier scheduler had loaded."""
        start_s = self._state.config.fleet.models[report.model].speeds[accelerator.spec.kind].start_s
        ready_at_s = now if report.phase is ReplicaPhase.READY else now + max(0.0, start_s - report.load_s)
        replica = ReplicaRecord(report.model, report.generation, report.phase, report.kv_pool_bytes, ready_at_s, now)
        self._state.hosts.put(accelerator, replica)
        return replica

    def _see_asleep(self, accelerator: AcceleratorRecord, report: ReplicaReport, now: float) -> None:
        """A status shows a replica asleep: it fell asleep, an earlier scheduler left it so, or it is to wake up."""
        known = accelerator.replicas.get(report.model)
        if known is not None and known.generation == report.generation:
            known.seen = True
            self._sleep.fall_asleep(accelerator, report.model, report.generation)
        elif report.model not in accelerator.sleeping:
            accelerator.sleeping[report.model] = SleepingReplica(
                report.model, report.generation, report.kv_pool_bytes, now
            )

    def _load_failed(self, accelerator: AcceleratorRecord, model: str, generation: int, now: float) -> None:
        """The engine is gone. The next load of this model here waits, longer each time."""
        self._retire(accelerator, model, generation)
        failures = min(10, accelerator.load_failures.get(model, 0) + 1)
        accelerator.load_failures[model] = failures
        delay_s = min(LONGEST_LOAD_RETRY_S, FIRST_LOAD_RETRY_S * 2 ** (failures - 1))
        accelerator.no_load_before_s[model] = now + delay_s
        self._lifecycle.unplace([member.spec.name for member in accelerator.members(model)], now)
        self._state.plan_wanted = True

    def _retire(self, accelerator: AcceleratorRecord, model: str, generation: int) -> None:
        """The replica's present life is over; whatever is still said of it is old."""
        replica, sleeping = accelerator.replicas.get(model), accelerator.sleeping.get(model)
        if replica is not None and replica.generation <= generation:
            self._state.hosts.remove(accelerator, model)
        if sleeping is not None and sleeping.generation <= generation:
            del accelerator.sleeping[model]
        accelerator.retired[model] = max(generation, accelerator.retired.get(model, -1))
