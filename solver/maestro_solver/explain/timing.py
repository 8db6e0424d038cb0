"""Why a stage does not start earlier where it is: the checker is asked what an earlier start would break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from maestro.plan import Assignment, Plan, Residency
from maestro.snapshot import Snapshot
from maestro_solver.check import Constraint
from maestro_solver.checks.case import Case
from maestro_solver.explain.data import Binding, Obstacle
from maestro_solver.explain.what_if import (
    MOMENT_S,
    broken,
    narrowed,
    pinned_in_the_way,
    with_load_start,
    with_start,
)

_SHARED: Final = {
    Constraint.MEMORY: Binding.DEVICE_MEMORY,
    Constraint.POOL: Binding.KV_POOL,
    Constraint.BATCH: Binding.BATCH,
    Constraint.SLOTS: Binding.SLOTS,
}
"""What a stage shares with others on its accelerator."""

_LOADING: Final = {
    Constraint.LINK: Binding.LOAD_LINK,
    Constraint.MEMORY: Binding.DEVICE_MEMORY,
    Constraint.ONE_REPLICA: Binding.OTHER_REPLICA,
}
"""What holds back a load."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The first start in the same place with all else unchanged, and what holds until then."""

    earliest_s: float
    obstacles: tuple[Obstacle, ...]


def timing(snapshot: Snapshot, plan: Plan, assignment: Assignment, tick_s: float) -> Timing:
    """Why the assignment of a valid plan does not start earlier.

    Durations and delays are rounded up to ticks of ``tick_s``: what is sooner by less than two is no room left.
    """
    question = _Question(snapshot, plan, assignment)
    earliest_s = question.earliest_s()
    obstacles = tuple(question.obstacles(earliest_s))
    if earliest_s <= assignment.start_s - 2 * tick_s:
        obstacles = (Obstacle(Binding.ROOM_LEFT, earliest_s), *obstacles)
    return Timing(earliest_s, obstacles)


class _Question:
    """One assignment of one plan, with as much of the rest as can bear on it."""

    def __init__(self, snapshot: Snapshot, plan: Plan, assignment: Assignment) -> None:
        self._assignment = assignment
        self._snapshot, self._plan = narrowed(snapshot, plan, assignment)
        self._case = Case(self._snapshot, self._plan)
        self._stage = self._case.waiting[assignment.stage]

    def earliest_s(self) -> float:
        """The first start that breaks nothing."""
        return next(at_s for at_s in self._moments() if not self._broken_at(at_s))

    def obstacles(self, at_s: float) -> Iterator[Obstacle]:
        """What a start a moment before ``at_s`` breaks."""
        if at_s <= 0.0:
            yield Obstacle(Binding.NOTHING, 0.0)
            return
        for constraint in sorted(self._broken_at(at_s - MOMENT_S)):
            if constraint is Constraint.INSIDE_RESIDENCY:
                yield from self._loading()
            elif constraint is Constraint.PRECEDENCE:
                yield self._after_predecessors(at_s)
            elif constraint is Constraint.NOT_BEFORE:
                is_retry = self._stage.not_before_s >= at_s - MOMENT_S
                yield Obstacle(Binding.RETRY if is_retry else Binding.NETWORK, at_s)
            elif constraint in _SHARED:
                yield Obstacle(_SHARED[constraint], at_s, tuple(self._ending(at_s, constraint)))
        yield from self._pinned(with_start(self._plan, self._assignment, at_s - MOMENT_S), at_s)

    def _moments(self) -> list[float]:
        """The only instants at which an earliest start can lie: where something ends, or the stage is let go."""
        delay_s = self._snapshot.network_delay_s
        ends_s = [self._case.finish_s(key) for key in self._stage.predecessors]
        moments = [0.0, self._stage.not_before_s, delay_s, *ends_s, *(end_s + delay_s for end_s in ends_s)]
        moments += [found.remaining_s for found in self._snapshot.running]
        moments += [found.end_s for found in self._plan.assignments]
        moments += [found.ready_s for found in self._plan.residencies]
        moments += [found.end_s for found in self._plan.residencies if found.end_s is not None]
        earlier = {moment for moment in moments if 0.0 <= moment < self._assignment.start_s}
        return [*sorted(earlier), self._assignment.start_s]

    def _broken_at(self, start_s: float) -> set[Constraint]:
        return broken(self._snapshot, with_start(self._plan, self._assignment, start_s))

    def _after_predecessors(self, at_s: float) -> Obstacle:
        """Held back by the predecessors that end last, or only by the network in between."""
        near = replace(self._snapshot, network_delay_s=0.0)
        sooner = with_start(self._plan, self._assignment, at_s - MOMENT_S)
        binding = Binding.PREDECESSOR if Constraint.PRECEDENCE in broken(near, sooner) else Binding.NETWORK
        ends_s = {key: self._case.finish_s(key) for key in self._stage.predecessors}
        last_s = max(ends_s.values())
        return Obstacle(binding, at_s, tuple(str(key) for key, end_s in ends_s.items() if end_s >= last_s - MOMENT_S))

    def _ending(self, at_s: float, constraint: Constraint) -> Iterator[str]:
        """What gives way just then: stages on the accelerators (of the same model where that is shared), models."""
        same_model = constraint in {Constraint.BATCH, Constraint.POOL}
        here = set(self._case.members(self._assignment))
        shares = [(each.stage, each.accelerator, each.model, each.end_s) for each in self._plan.assignments]
        shares += [
            (each.key, each.accelerator or "", each.model or "", each.remaining_s) for each in self._snapshot.running
        ]
        for key, accelerator, model, end_s in shares:
            is_here = not here.isdisjoint(self._snapshot.members(model, accelerator))
            counts = is_here and (model == self._assignment.model or not same_model)
            if counts and key != self._assignment.stage and abs(end_s - at_s) <= MOMENT_S:
                yield str(key)
        for found in self._plan.residencies if constraint is Constraint.MEMORY else ():
            is_here = not here.isdisjoint(self._case.members(found))
            if is_here and found.end_s is not None and abs(found.end_s - at_s) <= MOMENT_S:
                yield found.model

    def _loading(self) -> Iterator[Obstacle]:
        """Why the residency is not ready earlier: its load takes time, and something held back its beginning."""
        host = self._case.host_of(self._assignment)
        if host is None:
            return
        yield Obstacle(Binding.LOAD_TIME, host.ready_s, (host.model,))
        if host.initial or host.load_start_s <= 0.0:
            return
        begin_s = host.load_start_s
        sooner = with_load_start(self._plan, host, begin_s - MOMENT_S)
        for constraint in sorted(broken(self._snapshot, sooner)):
            if constraint is Constraint.LINK:
                yield Obstacle(Binding.LOAD_LINK, begin_s, tuple(self._on_the_link(host)))
            elif constraint in _LOADING:
                yield Obstacle(_LOADING[constraint], begin_s, tuple(self._ending(begin_s, Constraint.MEMORY)))
        yield from self._pinned(sooner, begin_s)

    def _on_the_link(self, host: Residency) -> Iterator[str]:
        """The loads on the same link whose weights have been read when this one begins."""
        nodes = {found.name: (found.cluster, found.node) for found in self._snapshot.accelerators}
        for found in self._plan.residencies:
            same_link = nodes[found.accelerator] == nodes[host.accelerator]
            if same_link and abs(self._case.read_s(found) - host.load_start_s) <= MOMENT_S:
                yield f"{found.model} on {found.accelerator}"

    def _pinned(self, sooner: Plan, at_s: float) -> Iterator[Obstacle]:
        models = pinned_in_the_way(self._snapshot, sooner, self._assignment.accelerator, self._assignment.model)
        if models:
            yield Obstacle(Binding.PINNED_MODEL, at_s, models)
