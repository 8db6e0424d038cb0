"""Carries the decisions of an earlier plan out on a later instance: order, places and loads are kept, times are new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maestro.snapshot import LoadInForce, PlanInForce, ReplicaPlace, StartInForce
from maestro_solver.heuristics.placement import best_place, commit
from maestro_solver.heuristics.profile import FOREVER
from maestro_solver.heuristics.state import AcceleratorTrack, FleetState, ResidentTrack
from maestro_solver.instance import GridOption, GridStage, Instance
from maestro_solver.schedule import Span

_NEVER_LOAD = float("inf")
"""A patience with which a stage waits for a replica however long it takes: loads are the plan's to decide."""


class Carrying:
    """An instance with decisions carried out on it: ``state``, and the ``spans`` and ``options`` of placed stages.

    Stages that the instance does not have waiting are left out, and so are decisions that have become impossible.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.state = FleetState(instance)
        self.spans: dict[int, Span] = {}
        self.options: dict[int, GridOption] = {}
        self._stage_at = {stage.key: position for position, stage in enumerate(instance.stages)}
        self._accelerator_at = {found.name: position for position, found in enumerate(instance.accelerators)}
        self._model_at = {found.name: position for position, found in enumerate(instance.models)}
        self._run_tools(range(len(instance.stages)))

    def carry_out(self, decided: PlanInForce) -> None:
        """Every decision in the order in which it is due, loads before the stages that start with them.

        Stages that go before all others do so if their model is there.
        """
        first = [found for found in decided.starts if self._goes_first(found)]
        for found in first:
            self._place(found)
        decisions: list[tuple[float, int, LoadInForce | StartInForce]] = [(f.due_in_s, 0, f) for f in decided.loads]
        decisions += [(found.due_in_s, 1, found) for found in decided.starts]
        for _, _, decision in sorted(decisions, key=lambda each: each[:2]):
            if isinstance(decision, LoadInForce):
                self._load(decision)
            else:
                self._place(decision)

    def _goes_first(self, planned: StartInForce) -> bool:
        accelerator = self._accelerator_at.get(planned.accelerator)
        if accelerator is None or self._stage_at.get(planned.stage) not in self.instance.first:
            return False
        residents = self.state.tracks[accelerator].residents
        return any(found.usable and found.model == self._model_at.get(planned.model) for found in residents)

    def _load(self, load: LoadInForce) -> None:
        """Begin a planned load as soon as its memory is free; one that was begun meanwhile is there already."""
        accelerator, model = self._accelerator_at.get(load.accelerator), self._model_at.get(load.model)
        if accelerator is None or model is None or (model, accelerator) not in self.instance.load:
            return
        tracks = self.state.tracks_of(model, accelerator)
        if any(found.model == model and found.usable and found.end >= FOREVER for found in tracks[0].residents):
            return
        if not self.state.may_use(tracks):
            return
        holders = dict.fromkeys(found for track in tracks for found in track.holders)
        leaving = [found for found in holders if self._leaves_for(found, load)]
        earliest = max([0, *(found.last_use for found in leaving), *_earlier_lives(tracks[0], model)])
        start = self._first_fit(tracks, model, leaving, earliest)
        if start < FOREVER:
            for found in leaving:
                self.state.evict(found, start)
            self.state.load(model, accelerator, start, start + self.instance.load[model, accelerator])

    def _leaves_for(self, resident: ResidentTrack, load: LoadInForce) -> bool:
        """Whether the residency is to end for the load; one that has been pinned since does not."""
        stays = resident.end >= FOREVER and resident.usable
        pinned = (resident.model, resident.members[0]) in self.instance.pinned
        return stays and not pinned and self._place_of(resident) in load.evicts

    def _place_of(self, resident: ResidentTrack) -> ReplicaPlace:
        accelerator = self.instance.accelerators[resident.members[0]]
        return ReplicaPlace(self.instance.models[resident.model].name, accelerator.name)

    def _first_fit(
        self, tracks: Sequence[AcceleratorTrack], model: int, leaving: Sequence[ResidentTrack], earliest: int
    ) -> int:
        """The first tick with the link free and, once ``leaving`` have left, the memory free for good."""
        first = tracks[0].position
        need = self.instance.memory_of(model, first)
        link, reading = self.state.links[tracks[0].node], self.instance.link[model, first]
        start = earliest
        while start < FOREVER:
            found = start
            for track in tracks:
                freed = sum(each.memory for each in leaving if track.position in each.members)
                found = track.memory.earliest_fit(found, FOREVER, track.capacity - need + freed)
            found = link.earliest_fit(found, reading, 0) if found < FOREVER else FOREVER
            if found == start:
                break
            start = found
        return start

    def _place(self, planned: StartInForce) -> None:
        """Start a stage where the plan wants it, as soon as everything it needs is there."""
        position = self._stage_at.get(planned.stage)
        if position is None or position in self.spans:
            return
        stage = self.instance.stages[position]
        where = (self._accelerator_at.get(planned.accelerator), self._model_at.get(planned.model))
        option = next((found for found in stage.options if (found.accelerator, found.model) == where), None)
        earliest = self._earliest(stage)
        if option is None or earliest is None or stage.obstacle is not None:
            return
        place = best_place(self.state, (option,), earliest, _NEVER_LOAD)
        if place is None or place.resident is None:
            return
        commit(self.state, place)
        self.options[position] = option
        self.spans[position] = Span(place.start, place.start + option.duration)
        self._run_tools(self.instance.successors[position])

    def _run_tools(self, positions: Iterable[int]) -> None:
        """Give tool stages their times as soon as their predecessors have theirs."""
        left = list(positions)
        for position in left:  # grows by the successors of what is found
            stage = self.instance.stages[position]
            if stage.external is None or position in self.spans or stage.obstacle is not None:
                continue
            earliest = self._earliest(stage)
            if earliest is not None:
                self.spans[position] = Span(earliest[-1], earliest[-1] + stage.external)
                left.extend(self.instance.successors[position])

    def _earliest(self, stage: GridStage) -> tuple[int, ...] | None:
        """The first allowed start per cluster, and nowhere; None where a predecessor has no place."""
        earliest = list(stage.release)
        for before in stage.predecessors:
            if before not in self.spans:
                return None
            end, option = self.spans[before].end, self.options.get(before)
            origin = None if option is None else self.instance.accelerators[option.accelerator].cluster
            for cluster in range(len(earliest)):
                crosses = origin is not None and cluster not in {origin, len(earliest) - 1}
                earliest[cluster] = max(earliest[cluster], end + (self.instance.network_delay if crosses else 0))
        return tuple(earliest)


def _earlier_lives(track: AcceleratorTrack, model: int) -> list[int]:
    """When earlier residencies of the same model end."""
    return [found.end for found in track.residents if found.model == model]
