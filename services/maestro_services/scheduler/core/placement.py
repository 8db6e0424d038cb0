"""Places ready stages that no plan has ordered, in the event that made them ready: the incremental heuristic.

A stage gets the place on a resident replica where it ends soonest, behind what is ordered there already, and starts
at once if it delays nothing. Loads are left to plans, which see everything that competes for the memory; only while
the planner is down does the heuristic order loads as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from maestro.plan import Assignment, Residency
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro_services.scheduler.core.agenda import PlannedLoad, PlannedStage
from maestro_services.scheduler.core.clearing import Clearing
from maestro_services.scheduler.core.execution import Execution
from maestro_services.scheduler.core.loading import PLAN_FIRST_S
from maestro_services.scheduler.core.ordering import Ordering
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.rooms import Rooms, rooms
from maestro_services.scheduler.core.snapshots import Snapshots
from maestro_services.scheduler.core.state import SchedulerState
from maestro_solver.grid import Grid
from maestro_solver.heuristics.incremental import Placement as Place
from maestro_solver.heuristics.incremental import SnapshotView

STAGES_PER_EVENT = 32


class Placement:
    """Finds places for stages of the ready queue."""

    def __init__(self, state: SchedulerState, snapshots: Snapshots, execution: Execution, ordering: Ordering) -> None:
        """The parts it works on; it owns none of them but what makes room."""
        self._state = state
        self._clearing = Clearing(state, execution)
        self._snapshots = snapshots
        self._execution = execution
        self._ordering = ordering
        self._fruitless: tuple[list[StageKey], bool] | None = None
        self._nodeless = False

    def place_ready(self, now: float, outcome: Outcome, *, moved: bool) -> None:
        """Gives the most wanted ready stages a place, and starts those that may start.

        ``moved``: an accelerator may be able to take more than when this was last tried. Where nothing has moved and
        the same stages found no place before, nothing is tried.
        """
        self._state.ready.end_pauses(now)
        if self._explain_no_node():
            return
        self._ordering.reorder(self._state, now)
        keys = self._most_wanted(now)
        attempt = (keys, self._state.planner_down)
        if keys and (moved or attempt != self._fruitless):
            placed = self._place(keys, now, outcome)
            self._fruitless = None if placed else attempt
            self._execution.advance(now, outcome)
        if moved:
            self._clearing.consider(self._without_room(keys, now), now, outcome)

    def _place(self, keys: list[StageKey], now: float, outcome: Outcome) -> bool:
        """Whether any of the stages found a place. One that cannot start may take its whole workflow with it."""
        view, placed = self._view(now), False
        for key in keys:
            stage = self._state.stage(key)
            if stage is None or not stage.ready:
                continue
            waiting = self._snapshots.waiting(self._state.workflows[key.workflow], stage, now)
            found = view.place(waiting)
            if isinstance(found, Reason):
                if self._state.planner_down:  # else what the last plan said of it stands
                    stage.reason = found
            elif found.start_s < self._state.config.horizon_s:
                view.place_and_keep(waiting)
                self._take(stage, found, now, outcome)
                placed = True
        return placed

    def _most_wanted(self, now: float) -> list[StageKey]:
        """The first stages that a replica has room for, or one that may be loaded where loads are ordered here."""
        if len(self._state.agenda.place) >= self._state.config.max_snapshot_stages:
            return []
        largest = rooms(self._state, loads=self._state.planner_down)
        models = sorted({model for model, _ in largest})
        while True:
            wanting = self._state.ready.wanting(models)
            keys = list(islice((key for key in wanting if self._has_room(key, largest)), STAGES_PER_EVENT))
            if not self._ordering.demote_hopeless(self._state, keys, now):
                return keys

    def _has_room(self, key: StageKey, largest: Rooms) -> bool:
        stage = self._state.stage(key)
        return stage is not None and self._snapshots.has_room(stage, largest)

    def _without_room(self, keys: list[StageKey], now: float) -> Iterator[StageRecord]:
        """Those of the stages that plans had the time to place and have not, and ordered ones that lack memory."""
        patience_s = self._state.config.min_plan_interval_s + PLAN_FIRST_S
        for key in dict.fromkeys((*keys, *self._state.agenda.place)):
            stage = self._state.stage(key)
            if stage is not None and stage.ready and now - (stage.ready_at_s or now) > patience_s:
                placed = key in self._state.agenda.place
                if not placed or stage.reason is Reason.WAITING_FOR_KV:
                    yield stage

    def _explain_no_node(self) -> bool:
        """Whether no accelerator is there to place anything on. Ready stages are told so, and told when one is.

        One that is tried again goes on telling why it failed.
        """
        added, nodeless = self._state.ready.take_added(), not any(True for _ in self._state.usable())
        if nodeless or self._nodeless:
            for key in added if nodeless and self._nodeless else self._state.ready:
                stage = self._state.stage(key)
                if stage is not None and not stage.attempts:
                    stage.reason = Reason.NO_NODE if nodeless else Reason.WAITING_FOR_PLAN
        self._nodeless = nodeless
        return nodeless

    def _take(self, stage: StageRecord, place: Place, now: float, outcome: Outcome) -> None:
        """Puts the stage, and the load it needs, into the agenda; starts it if nothing stands against it."""
        planned = PlannedStage(
            stage.key, place.accelerator, place.model, now + place.start_s, now + place.end_s, place.kv_bytes
        )
        if place.needs_load:
            self._order_load(place, now)
        claims = self._execution.claims(place.model, place.accelerator, now)
        self._state.ready.discard(stage.key)
        self._state.agenda.add(planned)
        reason = self._execution.try_start(planned, claims, now, outcome)
        if reason is not None:
            stage.reason = reason

    def _order_load(self, place: Place, now: float) -> None:
        accelerator = self._state.accelerators[place.accelerator]
        model = self._state.config.fleet.models[place.model]
        self._state.agenda.add_load(
            PlannedLoad(
                place.accelerator,
                place.model,
                now + place.load_start_s,
                now + place.ready_s,
                frozenset(place.evict),
                0 if accelerator.spec.kv_elastic else model.kv_pool_bytes,
            )
        )
        self._state.touch(place.model, place.accelerator)

    def _view(self, now: float) -> SnapshotView:
        """The fleet with the agenda on it; without load times unless loads may be ordered here."""
        snapshot = self._snapshots.fleet(now, loads=self._state.planner_down)
        return SnapshotView(
            snapshot, self._assignments(now), self._residencies(now), Grid.suited(snapshot, self._state.config.tick_s)
        )

    def _assignments(self, now: float) -> list[Assignment]:
        ordered = sorted(self._state.agenda.place.values(), key=lambda p: p.start_at_s)
        return [
            Assignment(
                p.key,
                p.accelerator,
                p.model,
                max(0.0, p.start_at_s - now),
                max(0.0, p.start_at_s - now) + p.end_at_s - p.start_at_s,
                p.kv_bytes,
            )
            for p in ordered
        ]

    def _residencies(self, now: float) -> list[Residency]:
        """Replicas that an ordered load evicts end when it starts; loads not begun are to come."""
        residencies = []
        for accelerator in self._state.usable():
            name = accelerator.spec.name
            for replica in accelerator.replicas.values():
                eviction = self._state.agenda.next_eviction(name, replica.model)
                if eviction is not None and replica.phase is ReplicaPhase.READY:
                    end_s = max(0.0, eviction.load_at_s - now)
                    residencies.append(
                        Residency(
                            name, replica.model, 0.0, 0.0, end_s, initial=True, kv_pool_bytes=replica.kv_pool_bytes
                        )
                    )
        return residencies
