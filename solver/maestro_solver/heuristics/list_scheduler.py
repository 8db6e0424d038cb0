"""Serial schedule generation: stages in a policy's order, each to where it ends soonest.

Source: Kolisch (1996), 'Serial and parallel resource-constrained project scheduling methods revisited'; extended by
residencies, which a placement may load and evict.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence

from maestro.reasons import Reason
from maestro_solver.heuristics.placement import best_place, commit
from maestro_solver.heuristics.policies.policy import OrderKey, Policy
from maestro_solver.heuristics.state import FleetState
from maestro_solver.instance import GridOption, GridStage, Instance
from maestro_solver.schedule import Schedule, Span


def order_keys(instance: Instance, policy: Policy) -> list[OrderKey]:
    """The policy's key of every waiting stage, by position; those that go first stand before all others."""
    workflows = instance.snapshot.workflows
    return [
        (float(position not in instance.first), *policy.order_key(workflows[found.workflow], stage))
        for position, (found, stage) in enumerate(zip(instance.stages, instance.snapshot.waiting, strict=True))
    ]


def list_schedule(
    instance: Instance, keys: Sequence[OrderKey], patience: float = 0.0, *, batched: bool = False
) -> Schedule:
    """Place every stage that can be placed, however late.

    ``patience`` as in :func:`placement.best_place`. ``batched``: stages whose model is there and stays go before those
    that need a load, so that models take turns in long shifts.
    """
    builder = ScheduleBuilder(instance, FleetState(instance), patience, batched=batched)
    builder.place_all(keys)
    return builder.schedule()


class ScheduleBuilder:
    """A schedule in the making on top of a state; stages that have a span already are left as they are."""

    def __init__(self, instance: Instance, state: FleetState, patience: float, *, batched: bool = False) -> None:
        self._instance = instance
        self._batched = batched
        self._state = state
        self._patience = patience
        self._spans: dict[int, Span] = {}
        self._options: dict[int, GridOption] = {}
        self._unplaced: dict[int, Reason] = {}

    def keep(self, spans: Mapping[int, Span], options: Mapping[int, GridOption]) -> None:
        """Take over stages whose places the state holds already."""
        self._spans.update(spans)
        self._options.update(options)

    def place_all(self, keys: Sequence[OrderKey]) -> None:
        """Place the stages left, the smallest key among those whose predecessors are placed first."""
        stages = self._instance.stages
        left = [position for position in range(len(stages)) if position not in self._spans]
        for position in left:
            self._state.demand.update({option.model for option in stages[position].options})
        waits_for = {
            position: sum(before not in self._spans for before in stages[position].predecessors) for position in left
        }
        ready = sorted((keys[position], position) for position in left if waits_for[position] == 0)
        while ready:
            _, position = ready.pop(self._next(ready))
            self._place(position)
            for after in self._instance.successors[position]:
                waits_for[after] -= 1
                if waits_for[after] == 0:
                    insort(ready, (keys[after], after))

    def schedule(self) -> Schedule:
        """What has been decided so far."""
        return Schedule(self._options, self._spans, self._state.residents(), self._unplaced)

    def _next(self, ready: Sequence[tuple[OrderKey, int]]) -> int:
        """Which of the ready stages, sorted by key, is placed next."""
        if self._batched:
            for at, (_, position) in enumerate(ready):
                stage = self._instance.stages[position]
                if not stage.options or any(self._state.stays(option) for option in stage.options):
                    return at
        return 0

    def _place(self, position: int) -> None:
        stage = self._instance.stages[position]
        self._state.demand.subtract({option.model for option in stage.options})
        obstacle = stage.obstacle
        if obstacle is None and any(before in self._unplaced for before in stage.predecessors):
            obstacle = Reason.WAITING_FOR_PREDECESSORS
        if obstacle is not None:
            self._unplaced[position] = obstacle
            return
        earliest = self._earliest(stage)
        if stage.external is not None:
            start = max(earliest[-1], self._state.floor)
            self._spans[position] = Span(start, start + stage.external)
            return
        place = best_place(self._state, stage.options, earliest, self._patience)
        if place is None:
            self._unplaced[position] = Reason.NO_ACCELERATOR_FITS
            return
        commit(self._state, place)
        self._options[position] = place.option
        self._spans[position] = Span(place.start, place.start + place.option.duration)

    def _earliest(self, stage: GridStage) -> tuple[int, ...]:
        """The first allowed start per cluster, and for a stage that runs nowhere as the last entry."""
        earliest = list(stage.release)
        for before in stage.predecessors:
            end = self._spans[before].end
            option = self._options.get(before)
            origin = None if option is None else self._instance.accelerators[option.accelerator].cluster
            for cluster in range(len(earliest)):
                nowhere = cluster == len(earliest) - 1
                crosses = origin is not None and not nowhere and cluster != origin
                earliest[cluster] = max(earliest[cluster], end + (self._instance.network_delay if crosses else 0))
        return tuple(earliest)
