"""Carries the plan in force out: which loads may be ordered and which stages may start, at one instant.

The plan gives places, order and residency; its times are what early starts are measured against. Whatever is next
starts at once, and whatever starts early may delay no earlier-ordered stage, no planned drain and no planned load.
"""

from __future__ import annotations

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.agenda import PlannedLoad, PlannedStage
from maestro_services.scheduler.core.backfill import Candidate, Claim, may_start, resident_bytes
from maestro_services.scheduler.core.links import links_are_taken
from maestro_services.scheduler.core.outcome import LoadReplica, Outcome
from maestro_services.scheduler.core.records import AcceleratorRecord
from maestro_services.scheduler.core.replica_records import ReplicaRecord
from maestro_services.scheduler.core.sleep import Sleep
from maestro_services.scheduler.core.starting import Starter
from maestro_services.scheduler.core.state import SchedulerState


class Execution:
    """Turns the agenda into commands. All changes go to the state and the outcome it is given."""

    def __init__(self, state: SchedulerState, starter: Starter, sleep: Sleep) -> None:
        """``starter`` begins attempts, ``sleep`` takes replicas off devices and brings back those that sleep."""
        self._state = state
        self._sleep = sleep
        self._models = state.config.fleet.models
        self._starter = starter

    def advance(self, now: float, outcome: Outcome) -> bool:
        """Does all that the agenda allows on the touched accelerators; whether there were any."""
        touched = self._state.touched
        moved, names = bool(touched), list[str]()
        while touched:
            if len(names) != len(touched):  # at the beginning, and where one has touched another
                names = sorted(touched, reverse=True)  # a set has no order of its own: equal events, equal commands
            name = names.pop()
            touched.remove(name)
            if self._state.is_usable(name):
                accelerator = self._state.accelerators[name]
                self._start_planned(accelerator, now, outcome)
                self._advance_loads(accelerator, now, outcome)
        return moved

    def try_start(self, planned: PlannedStage, claims: list[Claim], now: float, outcome: Outcome) -> Reason | None:
        """Starts a ready stage if nothing stands against it; otherwise says what does.

        None as well where the stage turned out not to be able to run as the planned model, and so lost its place.
        """
        stage = self._state.stage(planned.key)
        if stage is None or not stage.ready:
            return Reason.WAITING_FOR_PREDECESSORS
        if now < stage.not_before_s:
            return Reason.WAITING_FOR_RETRY
        accelerator = self._state.accelerators[planned.accelerator]
        option = self._starter.option(stage, planned.model, accelerator.spec.kind, now, outcome)
        if option is None:
            return None
        candidate = Candidate(planned.model, option.kv_bytes, now + option.duration_p90_s)
        drain_at_s = self._drain_at_s(accelerator, planned, now)
        reason = may_start(accelerator, self._models, candidate, claims, drain_at_s)
        if reason is None:
            self._starter.start(stage, accelerator, option, now, outcome)
        return reason

    def claims(self, accelerator: str, now: float) -> list[Claim]:
        """What the accelerator's ordered stages will want."""
        return [_claim(p, now) for p in self._state.agenda.pending(accelerator)]

    def _start_planned(self, accelerator: AcceleratorRecord, now: float, outcome: Outcome) -> None:
        """Starts the ordered stages of one accelerator that can start, in order."""
        claims: list[Claim] = []
        for planned in self._state.agenda.pending(accelerator.spec.name):
            reason = self.try_start(planned, claims, now, outcome)
            if reason is None:
                continue
            claims.append(_claim(planned, now))
            stage = self._state.stage(planned.key)
            if stage is not None:
                stage.reason = reason

    def _drain_at_s(self, accelerator: AcceleratorRecord, planned: PlannedStage, now: float) -> float | None:
        """When the stage's replica is to be empty for an eviction planned before the stage; None: no such eviction."""
        eviction = self._state.agenda.next_eviction(accelerator.spec.name, planned.model, planned.start_at_s)
        if eviction is None:
            return None
        ends = [a.expected_end_s for a in accelerator.occupants() if a.model == planned.model]
        ends += [p.end_at_s for p in self._before_eviction(accelerator, planned.model, eviction)]
        return max([now, *ends])

    def _before_eviction(self, accelerator: AcceleratorRecord, model: str, load: PlannedLoad) -> list[PlannedStage]:
        """Ordered stages that still run on the replica before the load takes its place."""
        pending = self._state.agenda.pending(accelerator.spec.name, model)
        return [p for p in pending if p.start_at_s < load.load_at_s]

    def _advance_loads(self, accelerator: AcceleratorRecord, now: float, outcome: Outcome) -> None:
        """Orders the accelerator's next load, and before it the unloads it needs, as soon as they disturb nothing."""
        name = accelerator.spec.name
        loads = self._state.agenda.loads.get(name, [])
        while loads and self._settled(accelerator, loads[0]):
            loads.pop(0)
        if not loads or loads[0].generation is not None or accelerator.load_pause_s(loads[0].model, now):
            return
        load = loads[0]
        for model in load.evicts:
            replica = accelerator.replicas.get(model)
            if replica is not None and (
                self._busy(accelerator, model) or self._before_eviction(accelerator, model, load)
            ):
                return
        for model in load.evicts:
            self._unload(accelerator, model, now, outcome)
        if any(model in accelerator.replicas for model in load.evicts) or links_are_taken(
            self._state, accelerator.node, now
        ):
            return
        if self._make_room(accelerator, load, now, outcome):
            self._load(accelerator, load, now, outcome)

    def _settled(self, accelerator: AcceleratorRecord, load: PlannedLoad) -> bool:
        """Whether a load is over: done, failed, or not needed since the model is there already."""
        replica = accelerator.replicas.get(load.model)
        if load.generation is None:
            return replica is not None and replica.phase is not ReplicaPhase.DRAINING
        return replica is None or replica.generation != load.generation or replica.phase is ReplicaPhase.READY

    def _make_room(self, accelerator: AcceleratorRecord, load: PlannedLoad, now: float, outcome: Outcome) -> bool:
        """Whether the load fits now; idle replicas that nothing is ordered for are unloaded where it does not."""
        model = self._models[load.model]
        name = accelerator.spec.name
        needed = resident_bytes(accelerator, self._models) + model.fixed_bytes + load.kv_pool_bytes
        needed += self._sleep.kept_bytes(accelerator, load.model)
        if accelerator.spec.kv_elastic:
            needed += sum(accelerator.kv_held.values())
            needed += sum(p.kv_bytes for p in self._state.agenda.pending(name) if p.start_at_s < load.load_at_s)
        if needed <= accelerator.spec.memory_bytes:
            return True
        over_bytes = needed - accelerator.spec.memory_bytes
        if any(r.phase is ReplicaPhase.DRAINING for r in accelerator.replicas.values()) or self._sleep.clear_device(
            accelerator, over_bytes, load.model, outcome
        ):
            return False
        idle = [
            r
            for r in accelerator.replicas.values()
            if r.phase is ReplicaPhase.READY
            and not self._busy(accelerator, r.model)
            and not self._state.agenda.pending(name, r.model)
            and name not in self._models[r.model].pinned_on
        ]
        if idle:
            self._unload(accelerator, min(idle, key=lambda r: r.last_used_s).model, now, outcome)
        elif not accelerator.stages_held:
            self._state.plan_wanted = True
        return False

    def _load(self, accelerator: AcceleratorRecord, load: PlannedLoad, now: float, outcome: Outcome) -> None:
        sleeping = accelerator.sleeping.get(load.model)
        if sleeping is not None and sleeping.leaving:
            return  # its end is told soon
        seconds = self._sleep.load_s(accelerator, self._models[load.model])
        load.generation = self._sleep.wake(accelerator, load.model, now + seconds, outcome)
        if load.generation is not None:
            return
        load.generation = self._state.next_generation()
        replica = ReplicaRecord(
            load.model, load.generation, ReplicaPhase.LOADING, load.kv_pool_bytes, now + seconds, now
        )
        self._state.hosts.put(accelerator, replica)
        outcome.effects.append(
            LoadReplica(accelerator.node, accelerator.spec.name, load.model, load.generation, load.kv_pool_bytes)
        )

    def _unload(self, accelerator: AcceleratorRecord, model: str, now: float, outcome: Outcome) -> None:
        replica = accelerator.replicas.get(model)
        if replica is None or replica.phase is ReplicaPhase.DRAINING or now < replica.no_unload_before_s:
            return
        self._sleep.evict(accelerator, replica, outcome)

    def _busy(self, accelerator: AcceleratorRecord, model: str) -> bool:
        return model in accelerator.stages_held


def _claim(planned: PlannedStage, now: float) -> Claim:
    return Claim(planned.model, max(now, planned.start_at_s), planned.kv_bytes)
