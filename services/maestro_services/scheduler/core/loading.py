"""Which model a dispatch policy has loaded next, where, and who leaves for it.

A model is loaded where its stages would wait longer for the replicas there are than for another one. Who leaves must
be missed less: either other replicas of its model stay and would still be waited for less, or it is the last one and
has had its turn. Where plans decide residency, only models that they leave without a replica get one this way: what
does not fit the fleet all at once takes turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from maestro.fleet import ModelSpec
from maestro.snapshot import ReplicaPhase, ReplicaPlace, StageKey
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.agenda import PlannedLoad
from maestro_services.scheduler.core.backfill import resident_bytes, share_of
from maestro_services.scheduler.core.links import links_are_taken
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.replica_records import ReplicaRecord
from maestro_services.scheduler.core.rooms import SERVING, can_have_room, may_load
from maestro_services.scheduler.core.sleep import Sleep
from maestro_services.scheduler.core.state import SchedulerState
from maestro_solver.heuristics.dispatch import DispatchPolicy, LoadSite, Resident

CONSIDER_EVERY_S = 1.0
TURN_LOADS = 2.0
"""How many load times a replica that is wanted stays at least, and a model waits before it ends another's turn."""


PLAN_FIRST_S = 2.0
"""So long, beyond the interval between plans, what plans can provide for waits for them: a replica, or room."""


_Place = tuple[AcceleratorRecord, ReplicaRecord]
"""A replica, with the accelerator that keeps it."""


class Loading:
    """Orders loads through the agenda, one at a time over each node's links."""

    def __init__(self, state: SchedulerState, pace: Pace, policy: DispatchPolicy, sleep: Sleep) -> None:
        """``pace`` says how long stages take under load, ``policy`` where to load and who leaves first.

        ``sleep`` says how long loads take.
        """
        self._state = state
        self._pace = pace
        self._policy = policy
        self._sleep = sleep
        self._models = state.config.fleet.models
        self._next_s = float("-inf")
        self._homeless_since_s: dict[str, float] = {}
        self._quickest_s = {name: self._quickest_load_s(model) for name, model in self._models.items()}

    def consider(self, now: float, *, turns_only: bool = False) -> None:
        """Orders the loads that are worth it now; does nothing more often than once a second.

        ``turns_only``: only for models that plans have left without a replica.
        """
        if now < self._next_s:
            return
        ready = self._state.ready
        waiting = {model for model in ready.models() if model in self._models}
        if not waiting:
            return
        self._next_s = now + CONSIDER_EVERY_S
        while (key := ready.first(waiting)) is not None:
            for model in sorted(waiting.intersection(self._models_of(key))):
                waiting.remove(model)
                if not self._is_coming(model):
                    self._consider(self._models[model], now, turns_only=turns_only)

    def _models_of(self, key: StageKey) -> tuple[str, ...]:
        stage = self._state.stage(key)
        return stage.models if stage is not None else tuple(self._models)

    def _consider(self, model: ModelSpec, now: float, *, turns_only: bool) -> None:
        wait_s = self._wait_s(model.name)
        if any(self._can_have_room(accelerator, model) for accelerator in self._replicas(model.name)):
            self._homeless_since_s.pop(model.name, None)
        else:
            self._homeless_since_s.setdefault(model.name, now)
            wait_s = float("inf")
        if wait_s <= self._quickest_s[model.name] or (turns_only and not self._is_left_out(model.name, now)):
            return
        sites = [site for a in self._state.usable() if (site := self._site(a, model, wait_s, now)) is not None]
        if sites:
            site = self._policy.load(sites)
            if site.ready_in_s < wait_s:
                self._order(site, model, now, turn=turns_only)

    def _is_left_out(self, model: str, now: float) -> bool:
        """Whether plans have had the time to load the model and have not."""
        since_s = self._homeless_since_s.get(model, float("inf"))
        return now - since_s > self._state.config.min_plan_interval_s + PLAN_FIRST_S

    def _order(self, site: LoadSite, model: ModelSpec, now: float, *, turn: bool) -> None:
        accelerator = self._state.accelerators[site.accelerator]
        seconds = self._sleep.load_s(accelerator, model)
        ready_at_s = now + site.ready_in_s
        there = _replicas_on(accelerator.members(model.name))
        evicts = frozenset(
            ReplicaPlace(resident.model, keeper.spec.name)
            for resident in site.evicted
            for keeper, _ in there[resident.model]
        )
        pool = 0 if accelerator.spec.kv_elastic else model.kv_pool_bytes
        self._state.agenda.add_load(
            PlannedLoad(site.accelerator, model.name, ready_at_s - seconds, ready_at_s, evicts, pool, turn=turn)
        )
        self._state.touch(model.name, site.accelerator)

    def _site(self, accelerator: AcceleratorRecord, model: ModelSpec, wait_s: float, now: float) -> LoadSite | None:
        """The accelerator as a place for the model; None where it cannot be one, or others would be missed more."""
        members = accelerator.members(model.name)
        if (
            model.name in accelerator.replicas
            or not may_load(self._state, accelerator, model)
            or not self._can_have_room(accelerator, model)
            or any(self._is_promised(member) for member in members)
            or links_are_taken(self._state, accelerator.node, now)
            or not self._within_budget(members)
        ):
            return None
        evicted = self._evicted(members, model, wait_s, now)
        if evicted is None:
            return None
        leaving = {resident.model for resident in evicted}
        ends = [
            attempt.expected_end_s
            for name in sorted(leaving)
            for keeper, _ in _replicas_on(members)[name]
            for attempt in keeper.occupants()
            if attempt.model == name
        ]
        pause_s = accelerator.load_pause_s(model.name, now)
        ready_in_s = max([pause_s, *(end - now for end in ends)]) + self._sleep.load_s(accelerator, model)
        load = max(sum(member.stages_held.values()) / max(1, member.spec.slots) for member in members)
        residents = max(sum(1 for _ in member.residents()) for member in members)
        return LoadSite(accelerator.spec.name, accelerator.cluster, ready_in_s, evicted, residents, load)

    def _evicted(
        self, members: Sequence[AcceleratorRecord], model: ModelSpec, wait_s: float, now: float
    ) -> tuple[Resident, ...] | None:
        """Which models have to leave all of the accelerators, by the policy's order; None where not enough may."""
        over = {member.spec.name: self._over_bytes(member, model) for member in members}
        found = _replicas_on(members)
        since_s = self._homeless_since_s.get(model.name, float("inf"))
        ends_turns = now - since_s > TURN_LOADS * self._sleep.load_s(members[0], model)
        chosen: list[Resident] = []
        for resident in sorted((self._resident(name, found[name]) for name in found), key=self._policy.evict):
            if all(needed <= 0 for needed in over.values()):
                break
            places = [(m, k) for k, _ in found[resident.model] for m in k.members(resident.model) if m in members]
            helps = any(over[member.spec.name] > 0 for member, _ in places)
            if helps and self._may_leave(found[resident.model], resident, wait_s, now, ends_turns=ends_turns):
                chosen.append(resident)
                for member, keeper in places:
                    over[member.spec.name] -= self._freed_bytes(keeper, resident.model)
        return tuple(chosen) if all(needed <= 0 for needed in over.values()) else None

    def _over_bytes(self, accelerator: AcceleratorRecord, model: ModelSpec) -> int:
        """By how much the model would overfill one of the accelerators that it takes."""
        elastic = accelerator.spec.kv_elastic
        needed = resident_bytes(accelerator, self._models) - accelerator.spec.memory_bytes
        needed += model.resident_share_bytes(0 if elastic else model.kv_pool_bytes)
        return needed + (accelerator.share_held_bytes if elastic else 0)

    def _freed_bytes(self, keeper: AcceleratorRecord, model: str) -> int:
        """What a replica gives back of each of its accelerators."""
        held_bytes = keeper.kv_held.get(model, 0) if keeper.spec.kv_elastic else 0
        return share_of(keeper.replicas[model], self._models) + self._models[model].share_bytes(held_bytes)

    def _resident(self, model: str, replicas: Sequence[_Place]) -> Resident:
        running = sum(keeper.stages_held.get(model, 0) for keeper, _ in replicas)
        waiting = self._state.ready.count(model)
        last_used_s = max(replica.last_used_s for _, replica in replicas)
        return Resident(model, last_used_s, running, waiting, len(self._replicas(model)))

    def _may_leave(
        self, replicas: Sequence[_Place], resident: Resident, wait_s: float, now: float, *, ends_turns: bool
    ) -> bool:
        """``ends_turns``: whoever wants the place has waited long enough to end the turn of a model's last replica."""
        pinned_on = self._models[resident.model].pinned_on
        if any(r.phase is not ReplicaPhase.READY or keeper.spec.name in pinned_on for keeper, r in replicas):
            return False
        if not resident.running and not resident.waiting:
            return True
        if not self._policy.drains and resident.running:
            return False
        if any(now < r.ready_at_s + TURN_LOADS * self._sleep.return_s(keeper, r) for keeper, r in replicas):
            return False
        if resident.replicas > len(replicas):
            left = (resident.replicas - len(replicas)) / resident.replicas
            return self._wait_s(resident.model, resident.running) / left < wait_s
        return ends_turns

    def _wait_s(self, model: str, more: int = 0) -> float:
        """Seconds until what waits for the model (and ``more`` stages) would have started on the replicas there are."""
        waiting = self._state.ready.count(model) + more
        replicas = self._replicas(model)
        if not replicas:
            return float("inf") if waiting else 0.0
        running = sum(accelerator.stages_held.get(model, 0) for accelerator in replicas)
        return waiting * self._duration_s(model) / max(1, running)

    def _duration_s(self, model: str) -> float:
        """The predicted time of the stage that is next for the model."""
        key = self._state.ready.first((model,))
        stage = self._state.stage(key) if key is not None else None
        return stage.typical_s * self._pace.of_model(model) if stage is not None else 0.0

    def _can_have_room(self, accelerator: AcceleratorRecord, model: ModelSpec) -> bool:
        """Whether a replica there has, or could be given, the memory that the model's next stage reserves."""
        key = self._state.ready.first((model.name,))
        stage = self._state.stage(key) if key is not None else None
        options = stage.cost.options if stage is not None and stage.cost is not None else ()
        kv_bytes = next((option.kv_bytes for option in options if option.model == model.name), 0)
        return can_have_room(accelerator, model, self._models, kv_bytes)

    def _replicas(self, model: str) -> list[AcceleratorRecord]:
        """The accelerators where the model serves or will, and is not to leave."""
        return [
            accelerator
            for accelerator in self._state.hosts.of(model)
            if accelerator.replicas[model].phase in SERVING
            and self._state.agenda.next_eviction(accelerator.spec.name, model) is None
        ]

    def _is_coming(self, model: str) -> bool:
        planned = any(load.model == model for loads in self._state.agenda.loads.values() for load in loads)
        return planned or any(
            accelerator.replicas[model].phase is ReplicaPhase.LOADING for accelerator in self._state.hosts.of(model)
        )

    def _is_promised(self, accelerator: AcceleratorRecord) -> bool:
        """Whether the accelerator has a load under way, or its node's links await one that waits for its memory."""
        loads = self._state.agenda.loads
        return bool(loads.get(accelerator.spec.name)) or any(
            load.generation is None
            for other in self._state.on_node(accelerator.node)
            for load in loads.get(other.spec.name, ())
        )

    def _within_budget(self, members: Sequence[AcceleratorRecord]) -> bool:
        """Whether the GPU budget lets a model be loaded there."""
        new = [member for member in members if not any(member.residents())]
        if not new:
            return True
        budget = self._state.config.fleet.budget
        used = [other for other in self._state.accelerators.values() if any(other.residents())]
        limit = budget.per_cluster.get(new[0].cluster)
        in_cluster = sum(other.cluster == new[0].cluster for other in used)
        return len(used) + len(new) <= budget.total and (limit is None or in_cluster + len(new) <= limit)

    def _quickest_load_s(self, model: ModelSpec) -> float:
        """The least time in which some accelerator of the fleet loads the model: no wait below it is worth a load."""
        kinds = model.speeds.keys()
        accelerators = self._state.accelerators.values()
        found = (self._sleep.quickest_load_s(a, model) for a in accelerators if a.spec.kind in kinds)
        return min(found, default=float("inf"))


def _replicas_on(members: Sequence[AcceleratorRecord]) -> dict[str, list[_Place]]:
    """By model, the replicas that take any of the accelerators, each once."""
    found: dict[str, dict[str, _Place]] = {}
    for member in members:
        for keeper, replica in member.residents():
            found.setdefault(replica.model, {})[keeper.spec.name] = (keeper, replica)
    return {model: list(places.values()) for model, places in found.items()}
