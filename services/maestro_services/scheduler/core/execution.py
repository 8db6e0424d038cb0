"""Carries the plan in force out: which loads may be ordered and which stages may start, at one instant.

The plan gives places, order and residency; its times are what early starts are measured against. Whatever is next
starts at once, and whatever starts early may delay no earlier-ordered stage, no planned drain and no planned load.
"""

from __future__ import annotations

from collections.abc import Sequence

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.agenda import Agenda, PlannedLoad, PlannedStage
from maestro_services.scheduler.core.backfill import Candidate, Claim, Claims, may_start, resident_bytes
from maestro_services.scheduler.core.links import links_are_taken
from maestro_services.scheduler.core.outcome import LoadReplica, Outcome
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

    def try_start(self, planned: PlannedStage, claims: Claims, now: float, outcome: Outcome) -> Reason | None:
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

    def claims(self, model: str, accelerator: str, now: float) -> Claims:
        """What the ordered stages of a replica's accelerators will want."""
        agenda = self._state.agenda
        return {name: [_claim(p, now) for p in agenda.pending(name)] for name in agenda.members(model, accelerator)}

    def _start_planned(self, accelerator: AcceleratorRecord, now: float, outcome: Outcome) -> None:
        """Starts the ordered stages of one accelerator that can start, in order."""
        name, agenda = accelerator.spec.name, self._state.agenda
        pending = agenda.pending(name)
        before = {name: _ClaimsBefore(agenda, name, now)} if pending else {}
        for planned in pending:
            stage = self._state.stage(planned.key)
            if stage is None or agenda.place.get(planned.key) is not planned:
                continue  # its workflow has ended, by one that could not start
            if not stage.ready:
                stage.reason = Reason.WAITING_FOR_PREDECESSORS
                continue
            members = agenda.members(planned.model, planned.accelerator)
            for other in members:
                if other not in before:
                    before[other] = _ClaimsBefore(agenda, other, now)
            claims = {member: before[member].of(planned) for member in members}
            reason = self.try_start(planned, claims, now, outcome)
            if reason is not None:
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
        agenda = self._state.agenda
        load = self._next_load(accelerator)
        if load is None or not agenda.is_next(load) or load.generation is not None:
            return
        keeper = self._state.accelerators[load.accelerator]
        if keeper.load_pause_s(load.model, now):
            return
        leaving = self._leaving(load)
        if any(model in place.stages_held or self._before_eviction(place, model, load) for place, model in leaving):
            return
        for place, model in leaving:
            self.unload(place, model, now, outcome)
        if self._leaving(load) or links_are_taken(self._state, keeper.node, now):
            return
        if self._make_room(keeper, load, now, outcome):
            self._load(keeper, load, now, outcome)

    def _next_load(self, accelerator: AcceleratorRecord) -> PlannedLoad | None:
        """The accelerator's first load that is not over: not done, failed, or needless since the model is there."""
        agenda = self._state.agenda
        for load in list(agenda.loads.get(accelerator.spec.name, ())):
            if not self._settled(self._state.accelerators[load.accelerator], load):
                return load
            agenda.drop_load(load)
        return None

    def _settled(self, accelerator: AcceleratorRecord, load: PlannedLoad) -> bool:
        replica = accelerator.replicas.get(load.model)
        if load.generation is None:
            return replica is not None and replica.phase is not ReplicaPhase.DRAINING
        return replica is None or replica.generation != load.generation or replica.phase is ReplicaPhase.READY

    def _leaving(self, load: PlannedLoad) -> list[tuple[AcceleratorRecord, str]]:
        """The replicas that the load evicts and that are still there: who keeps each, and its model."""
        places = ((self._state.accelerators[place.accelerator], place.model) for place in sorted(load.evicts))
        return [(keeper, model) for keeper, model in places if model in keeper.replicas]

    def _make_room(self, accelerator: AcceleratorRecord, load: PlannedLoad, now: float, outcome: Outcome) -> bool:
        """Whether the load fits now on all accelerators it takes; where it does not, others are told to leave."""
        fits = True
        is_awaited = self._state.ready.count(load.model) or self._state.agenda.pending(load.accelerator, load.model)
        for member in accelerator.members(load.model):
            over_bytes = self._needed_bytes(member, load) - member.spec.memory_bytes
            left_bytes = 0 if is_awaited else sum(member.expected.values())
            fits = fits and over_bytes + left_bytes <= 0
            if over_bytes > 0:
                self._clear(member, load, over_bytes, now, outcome)
        return fits

    def _needed_bytes(self, accelerator: AcceleratorRecord, load: PlannedLoad) -> int:
        """What would be taken of one accelerator with the load, and with the stages that are to start before it."""
        model = self._models[load.model]
        needed = resident_bytes(accelerator, self._models) + model.resident_share_bytes(load.kv_pool_bytes)
        needed += self._sleep.kept_bytes(accelerator, load.model)
        if accelerator.spec.kv_elastic:
            pending = self._state.agenda.pending(accelerator.spec.name)
            before = [p for p in pending if p.start_at_s < load.load_at_s]
            needed += accelerator.share_held_bytes + sum(accelerator.promised.values())
            needed += sum(self._models[p.model].share_bytes(p.kv_bytes) for p in before)
        return needed

    def _clear(
        self, accelerator: AcceleratorRecord, load: PlannedLoad, over_bytes: int, now: float, outcome: Outcome
    ) -> None:
        """Idle replicas that nothing is ordered for leave the accelerator, once none is leaving any more."""
        residents = list(accelerator.residents())
        if any(r.phase is ReplicaPhase.DRAINING for _, r in residents) or self._sleep.clear_device(
            accelerator, over_bytes, load.model, outcome
        ):
            return
        idle = [(keeper, r) for keeper, r in residents if self.may_leave(keeper, r)]
        if idle:
            keeper, replica = min(idle, key=lambda found: found[1].last_used_s)
            self.unload(keeper, replica.model, now, outcome)
        elif not accelerator.stages_held:
            self._state.plan_wanted = True

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
        place, peers = (accelerator.node, accelerator.spec.name), accelerator.peers(load.model)
        outcome.effects.append(LoadReplica(*place, load.model, load.generation, load.kv_pool_bytes, peers))

    def may_leave(self, keeper: AcceleratorRecord, replica: ReplicaRecord) -> bool:
        """Whether a replica is idle and not pinned, and nothing is ordered for it or has had room made for it."""
        return (
            replica.phase is ReplicaPhase.READY
            and replica.model not in keeper.stages_held
            and replica.model not in keeper.promised
            and not self._state.agenda.pending(keeper.spec.name, replica.model)
            and keeper.spec.name not in self._models[replica.model].pinned_on
        )

    def unload(self, accelerator: AcceleratorRecord, model: str, now: float, outcome: Outcome) -> None:
        """Takes an idle replica off the device, unless its node has just refused that."""
        replica = accelerator.replicas.get(model)
        if replica is None or replica.phase is ReplicaPhase.DRAINING or now < replica.no_unload_before_s:
            return
        self._sleep.evict(accelerator, replica, outcome)


class _ClaimsBefore:
    """What the stages want that are ordered before one on an accelerator, for stages asked about in that order."""

    def __init__(self, agenda: Agenda, accelerator: str, now: float) -> None:
        self._agenda = agenda
        self._queue = iter(agenda.pending(accelerator))
        self._passed: PlannedStage | None = None
        self._claims: list[Claim] = []
        self._now = now

    def of(self, planned: PlannedStage) -> Sequence[Claim]:
        """The claims of those before it that have not started meanwhile."""
        while self._passed is not planned:
            if self._passed is not None and self._agenda.place.get(self._passed.key) is self._passed:
                self._claims.append(_claim(self._passed, self._now))
            self._passed = next(self._queue)
        return self._claims


def _claim(planned: PlannedStage, now: float) -> Claim:
    return Claim(planned.model, max(now, planned.start_at_s), planned.kv_bytes)
