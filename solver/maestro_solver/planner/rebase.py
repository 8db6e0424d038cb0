"""Brings a plan to a later snapshot: what has started or ended is dropped; order, places and residency are kept."""

from __future__ import annotations

from maestro.plan import Assignment, Plan, Residency
from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.heuristics.placement import best_place, commit
from maestro_solver.heuristics.profile import FOREVER
from maestro_solver.heuristics.state import AcceleratorTrack, FleetState, ResidentTrack
from maestro_solver.instance import GridOption, GridStage
from maestro_solver.schedule import Schedule, Span, assignments, deferrals, residencies

_NEVER_LOAD = float("inf")
"""A patience with which a stage waits for a replica however long it takes: loads are the plan's to decide."""


def rebase(plan: Plan, snapshot: Snapshot, *, tick_s: float) -> Plan:
    """The plan's decisions, applied in their planned order to ``snapshot``, with starts computed anew.

    Stages that the snapshot no longer has waiting are left out. Stages that the plan did not know, or whose place is
    gone, are deferred, for the caller to place one by one. The provenance is the plan's own; the caller checks the
    result against ``snapshot`` before it is used.
    """
    return _Rebase(plan, snapshot, tick_s).result()


class _Rebase:
    """One plan on its way to one snapshot."""

    def __init__(self, plan: Plan, snapshot: Snapshot, tick_s: float) -> None:
        self._plan = plan
        self._instance = discretize(snapshot, Grid.suited(snapshot, tick_s), plan.horizon_s)
        self._state = FleetState(self._instance)
        self._stage_at = {stage.key: position for position, stage in enumerate(self._instance.stages)}
        self._accelerator_at = {found.name: position for position, found in enumerate(self._instance.accelerators)}
        self._model_at = {found.name: position for position, found in enumerate(self._instance.models)}
        self._spans: dict[int, Span] = {}
        self._options: dict[int, GridOption] = {}

    def result(self) -> Plan:
        """Every decision in the order of its planned time, loads before the stages that start with them."""
        self._run_tools(range(len(self._instance.stages)))
        decisions: list[tuple[float, int, Residency | Assignment]] = [
            (found.load_start_s, 0, found) for found in self._plan.residencies if not found.initial
        ]
        decisions += [(found.start_s, 1, found) for found in self._plan.assignments]
        for _, _, decision in sorted(decisions, key=lambda each: each[:2]):
            if isinstance(decision, Residency):
                self._load(decision)
            else:
                self._place(decision)
        return self._as_plan()

    def _load(self, load: Residency) -> None:
        """Begin a planned load as soon as its memory is free; one that was begun meanwhile is there already."""
        accelerator, model = self._accelerator_at.get(load.accelerator), self._model_at.get(load.model)
        if accelerator is None or model is None or (model, accelerator) not in self._instance.load:
            return
        track = self._state.tracks[accelerator]
        if any(found.model == model and found.usable and found.end >= FOREVER for found in track.residents):
            return
        if not self._state.may_use(track):
            return
        leaving = [found for found in track.residents if self._leaves_for(found, load)]
        earliest = max([0, *(found.last_use for found in leaving), *self._earlier_lives(track, model)])
        duration = self._instance.load[model, accelerator]
        start = self._first_fit(track, model, leaving, earliest, duration)
        if start < FOREVER:
            for found in leaving:
                self._state.evict(track, found, start)
            self._state.load(track, model, start, start + duration)

    def _leaves_for(self, resident: ResidentTrack, load: Residency) -> bool:
        """Whether the plan ends the residency by the time the load starts."""
        if resident.end < FOREVER or not resident.usable:
            return False
        name = self._instance.models[resident.model].name
        return any(
            other.accelerator == load.accelerator
            and other.model == name
            and other.end_s is not None
            and other.end_s <= load.load_start_s
            for other in self._plan.residencies
        )

    def _earlier_lives(self, track: AcceleratorTrack, model: int) -> list[int]:
        """When earlier residencies of the same model end."""
        return [found.end for found in track.residents if found.model == model]

    def _first_fit(
        self, track: AcceleratorTrack, model: int, leaving: list[ResidentTrack], earliest: int, duration: int
    ) -> int:
        """The first tick with the link free and, once ``leaving`` have left, the memory free for good."""
        freed = sum(found.memory for found in leaving)
        room = track.capacity - self._instance.memory_of(model, track.position) + freed
        link = self._state.links[track.node]
        start = earliest
        while start < FOREVER:
            found = track.memory.earliest_fit(start, FOREVER, room)
            found = link.earliest_fit(found, duration, 0) if found < FOREVER else FOREVER
            if found == start:
                break
            start = found
        return start

    def _place(self, assignment: Assignment) -> None:
        """Start a stage where the plan wants it, as soon as everything it needs is there."""
        position = self._stage_at.get(assignment.stage)
        if position is None or position in self._spans:
            return
        stage = self._instance.stages[position]
        where = (self._accelerator_at.get(assignment.accelerator), self._model_at.get(assignment.model))
        option = next((found for found in stage.options if (found.accelerator, found.model) == where), None)
        earliest = self._earliest(stage)
        if option is None or earliest is None or stage.obstacle is not None:
            return
        place = best_place(self._state, (option,), earliest, _NEVER_LOAD)
        if place is None or place.resident is None:
            return
        commit(self._state, place)
        self._options[position] = option
        self._spans[position] = Span(place.start, place.start + option.duration)
        self._run_tools(self._instance.successors[position])

    def _run_tools(self, positions: range | tuple[int, ...]) -> None:
        """Give tool stages their times as soon as their predecessors have theirs."""
        left = list(positions)
        for position in left:  # grows by the successors of what is found
            stage = self._instance.stages[position]
            if stage.external is None or position in self._spans or stage.obstacle is not None:
                continue
            earliest = self._earliest(stage)
            if earliest is not None:
                self._spans[position] = Span(earliest[-1], earliest[-1] + stage.external)
                left.extend(self._instance.successors[position])

    def _earliest(self, stage: GridStage) -> tuple[int, ...] | None:
        """The first allowed start per cluster, and nowhere; None where a predecessor has no place."""
        earliest = list(stage.release)
        for before in stage.predecessors:
            if before not in self._spans:
                return None
            end, option = self._spans[before].end, self._options.get(before)
            origin = None if option is None else self._instance.accelerators[option.accelerator].cluster
            for cluster in range(len(earliest)):
                crosses = origin is not None and cluster not in {origin, len(earliest) - 1}
                earliest[cluster] = max(earliest[cluster], end + (self._instance.network_delay if crosses else 0))
        return tuple(earliest)

    def _as_plan(self) -> Plan:
        instance = self._instance
        unplaced = {
            position: stage.obstacle or self._reason(stage.key)
            for position, stage in enumerate(instance.stages)
            if position not in self._spans
        }
        schedule = Schedule(self._options, self._spans, self._state.residents(), unplaced).within(instance.horizon)
        return Plan(
            taken_at_s=instance.snapshot.taken_at_s,
            horizon_s=self._plan.horizon_s,
            assignments=tuple(assignments(instance, schedule)),
            residencies=tuple(residencies(instance, schedule)),
            deferred=tuple(deferrals(instance, schedule)),
            provenance=self._plan.provenance,
        )

    def _reason(self, key: StageKey) -> Reason:
        """Why a stage has no place: the plan put it off, or did not know it."""
        for deferral in self._plan.deferred:
            if deferral.stage == key:
                return deferral.reason
        return Reason.WAITING_FOR_PLAN
