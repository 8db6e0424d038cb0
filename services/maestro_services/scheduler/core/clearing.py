"""Makes room for ready stages where KV memory is elastic, and idle models leave them too little of it.

Loads ask only whether weights fit beside each other, so that models may fill an accelerator and none of them has memory
to run in. Idle replicas, pinned ones excepted, then leave for the most wanted stage of a model that has no room. Loads
do not take what becomes free before the stage has it, and those that nothing ready waits for leave it to the next such
stage, too. Where KV memory comes in fixed pools, nothing of this is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maestro.fleet import ModelSpec, WeightTier
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, RunOption
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.backfill import resident_bytes, room, share_of
from maestro_services.scheduler.core.execution import Execution
from maestro_services.scheduler.core.loading import TURN_LOADS
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.replica_records import ReplicaRecord
from maestro_services.scheduler.core.rooms import SERVING, can_have_room
from maestro_services.scheduler.core.state import SchedulerState

PATIENCE_S = 60.0
"""So long a ready stage waits for others to end where it would have room then; they begin nothing more after that."""

KEPT_S = 5.0
"""So long after the last stage that room was made for, no load takes it that nothing ready waits for."""

_Place = tuple[AcceleratorRecord, ReplicaRecord]
"""A replica, with the accelerator that keeps it."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A replica beside which there would be room for a stage, once the ``leaving`` ones have left."""

    keeper: AcceleratorRecord
    model: str
    share_bytes: int
    leaving: tuple[_Place, ...]


class Clearing:
    """Has idle replicas leave for stages, and keeps loads off the memory until the stages have started."""

    def __init__(self, state: SchedulerState, execution: Execution) -> None:
        """``execution`` says what is idle, and takes it off the device."""
        self._state = state
        self._execution = execution
        self._models = state.config.fleet.models
        self._needed: dict[tuple[str, str], tuple[int, float]] = {}
        self._is_elastic = any(accelerator.spec.kv_elastic for accelerator in state.accelerators.values())

    def consider(self, without_room: Iterable[StageRecord], now: float, outcome: Outcome) -> None:
        """Makes room for those of the ready stages, most wanted first, that would not get any as others end."""
        if not self._is_elastic:
            return
        before = {name: (a.promised, a.expected) for name, a in self._state.accelerators.items()}
        for accelerator in self._state.accelerators.values():
            accelerator.promised, accelerator.expected = {}, {}
        for stage in without_room:
            site = self._find(stage, now)
            if site is not None:
                stage.reason = Reason.WAITING_FOR_KV
                self._clear(site, now, outcome)
        self._expect(now)
        after = {name: (a.promised, a.expected) for name, a in self._state.accelerators.items()}
        self._state.touched.update(name for name in before if before[name] != after[name])

    def _expect(self, now: float) -> None:
        """Where room was made, more will be needed as long as stages run there, and for a moment after the last."""
        for name, accelerator in self._state.accelerators.items():
            for model, share_bytes in accelerator.promised.items():
                self._needed[name, model] = share_bytes, now + KEPT_S
        for (name, model), (share_bytes, until_s) in list(self._needed.items()):
            accelerator = self._state.accelerators[name]
            if model in accelerator.stages_held:
                self._needed[name, model] = share_bytes, now + KEPT_S
            elif until_s <= now:
                del self._needed[name, model]
                continue
            if model not in accelerator.promised:
                accelerator.expected[model] = share_bytes

    def _find(self, stage: StageRecord, now: float) -> _Site | None:
        """Where the fewest would be missed, or others are to fall idle; None where none can help, or need leave."""
        is_overdue = now - (stage.ready_at_s or now) > PATIENCE_S
        sites, kept_free = list[_Site](), list[_Site]()
        for option in stage.cost.options if stage.cost is not None and stage.ready else ():
            for accelerator in self._state.hosts.of(option.model):
                if accelerator.spec.kind == option.kind and self._serves(accelerator, option.model):
                    if not is_overdue and self._has_room_in_the_end(accelerator, option):
                        return None
                    site = self._site(accelerator, option, now)
                    if site is not None:
                        sites.append(site)
                    elif is_overdue and (site := self._kept_free(accelerator, option)) is not None:
                        kept_free.append(site)
        return min(sites, key=self._missed) if sites else next(iter(kept_free), None)

    def _serves(self, accelerator: AcceleratorRecord, model: str) -> bool:
        """Whether the replica there serves new stages or will, and is not to leave."""
        name = accelerator.spec.name
        serves = self._state.is_usable(name) and accelerator.replicas[model].phase in SERVING
        return serves and self._state.agenda.next_eviction(name, model) is None

    def _has_room_in_the_end(self, accelerator: AcceleratorRecord, option: RunOption) -> bool:
        """Whether the stage would fit beside the replicas that are there, with nothing at work on them."""
        if not accelerator.spec.kv_elastic:
            return option.kv_bytes <= accelerator.replicas[option.model].kv_pool_bytes
        share_bytes = self._models[option.model].share_bytes(option.kv_bytes)
        members = accelerator.members(option.model)
        return all(resident_bytes(m, self._models) + share_bytes <= m.spec.memory_bytes for m in members)

    def _kept_free(self, accelerator: AcceleratorRecord, option: RunOption) -> _Site | None:
        """The replica as a place that others leave to the stage as they end, so that they fall idle and can leave it.

        None where that would not help, or where others leave theirs to another stage already.
        """
        model = self._models[option.model]
        if not accelerator.spec.kv_elastic or any(m.promised for m in accelerator.members(model.name)):
            return None
        if not can_have_room(accelerator, model, self._models, option.kv_bytes):
            return None
        return _Site(accelerator, model.name, model.share_bytes(option.kv_bytes), ())

    def _site(self, accelerator: AcceleratorRecord, option: RunOption, now: float) -> _Site | None:
        """The replica as a place for the stage; None where it is no matter of memory, or too little would leave."""
        model = self._models[option.model]
        if not accelerator.spec.kv_elastic or accelerator.replicas[model.name].phase is not ReplicaPhase.READY:
            return None
        if room(accelerator, model, self._models, option.kv_bytes, {}) is not Reason.WAITING_FOR_KV:
            return None
        share_bytes = model.share_bytes(option.kv_bytes)
        leaving = self._leaving(accelerator.members(model.name), model, share_bytes, now)
        return _Site(accelerator, model.name, share_bytes, leaving) if leaving is not None else None

    def _leaving(
        self, members: Sequence[AcceleratorRecord], model: ModelSpec, share_bytes: int, now: float
    ) -> tuple[_Place, ...] | None:
        """Which idle replicas have to leave, those that nobody waits for first; None where not enough can."""
        over = {member.spec.name: self._over_bytes(member, share_bytes) for member in members}
        places = {(k.spec.name, r.model): (k, r) for member in members for k, r in member.residents()}
        idle = [
            (keeper, replica)
            for keeper, replica in places.values()
            if replica.model != model.name
            and self._execution.may_leave(keeper, replica)
            and not self._has_its_turn(keeper, replica, now)
        ]
        chosen: list[_Place] = []
        for keeper, replica in sorted(idle, key=self._first_to_leave):
            taken = [member.spec.name for member in keeper.members(replica.model) if member.spec.name in over]
            if any(over[name] > 0 for name in taken):
                chosen.append((keeper, replica))
                for name in taken:
                    over[name] -= share_of(replica, self._models)
        return tuple(chosen) if all(needed <= 0 for needed in over.values()) else None

    def _has_its_turn(self, keeper: AcceleratorRecord, replica: ReplicaRecord, now: float) -> bool:
        """Whether something waits for a replica that has not been there for long, so that it comes to run there."""
        load_s = self._state.load_s(keeper, self._models[replica.model], WeightTier.DISK)
        return self._state.ready.count(replica.model) > 0 and now < replica.ready_at_s + TURN_LOADS * load_s

    def _over_bytes(self, accelerator: AcceleratorRecord, share_bytes: int) -> int:
        """By how much the stage would overfill one of its accelerators once what leaves already has left."""
        leaves_already = sum(
            share_of(replica, self._models)
            for _, replica in accelerator.residents()
            if replica.phase is ReplicaPhase.DRAINING
        )
        taken = resident_bytes(accelerator, self._models) - leaves_already + accelerator.share_held_bytes
        return taken + sum(accelerator.promised.values()) + share_bytes - accelerator.spec.memory_bytes

    def _clear(self, site: _Site, now: float, outcome: Outcome) -> None:
        for member in site.keeper.members(site.model):
            member.promised[site.model] = member.promised.get(site.model, 0) + site.share_bytes
        for keeper, replica in site.leaving:
            self._execution.unload(keeper, replica.model, now, outcome)

    def _first_to_leave(self, place: _Place) -> tuple[bool, float]:
        """Models that nothing waits for, then the least recently used."""
        _, replica = place
        return self._state.ready.count(replica.model) > 0, replica.last_used_s

    def _missed(self, site: _Site) -> tuple[int, int]:
        """How many models leave that something waits for, then how many at all."""
        return sum(self._first_to_leave(place)[0] for place in site.leaving), len(site.leaving)
