"""The plan in force, as what is still to be done: per accelerator the stages in order, and the loads in order.

What a tensor-parallel replica is to do stands in the order of each of its accelerators, named by the first of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from maestro.plan import Plan, Residency
from maestro.snapshot import LoadInForce, PlanInForce, ReplicaPlace, StageKey, StartInForce
from maestro_solver.planner.in_force import loads_in_order

_SAME_INSTANT_S = 1e-6
_start_at_s = attrgetter("start_at_s")


@dataclass(slots=True)
class PlannedStage:
    """A stage that has not started, with its place and its planned times (instants)."""

    key: StageKey
    accelerator: str
    model: str
    start_at_s: float
    end_at_s: float
    kv_bytes: int


@dataclass(slots=True)
class PlannedLoad:
    """A load to be done once the replicas it evicts are idle. ``generation`` is set when it has been ordered.

    ``turn``: no plan wanted it, but its model would have no turn otherwise.
    """

    accelerator: str
    model: str
    load_at_s: float
    ready_at_s: float
    evicts: frozenset[ReplicaPlace]
    kv_pool_bytes: int
    generation: int | None = None
    turn: bool = False


MayStart = Callable[[PlannedStage, int], bool]
"""Whether nothing but its turn keeps a stage from starting, behind so many others on its accelerator."""


@dataclass(slots=True)
class Agenda:
    """What is still to be done. Stages leave it when they start or end, loads when they are done or have failed.

    ``groups`` names the accelerators that tensor-parallel replicas take, as in a snapshot.
    """

    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    stages: dict[str, list[PlannedStage]] = field(default_factory=dict)
    loads: dict[str, list[PlannedLoad]] = field(default_factory=dict)
    place: dict[StageKey, PlannedStage] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: Plan,
        first: Collection[StageKey] = (),
        groups: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
    ) -> Agenda:
        """The agenda that carries out a plan from its beginning; of what starts at once, ``first`` goes first."""
        agenda = cls(groups or {})
        for assignment in sorted(plan.assignments, key=lambda found: (found.start_s, found.stage not in first)):
            agenda.add(
                PlannedStage(
                    assignment.stage,
                    assignment.accelerator,
                    assignment.model,
                    plan.taken_at_s + assignment.start_s,
                    plan.taken_at_s + assignment.end_s,
                    assignment.kv_bytes,
                )
            )
        for load, evicts in loads_in_order(plan.residencies, agenda.members):
            agenda.add_load(_planned_load(load, evicts, plan.taken_at_s))
        return agenda

    def members(self, model: str, accelerator: str) -> tuple[str, ...]:
        """The accelerators of a replica that ``accelerator`` is the first of; most have only it."""
        return self.groups.get((model, accelerator), (accelerator,))

    def in_force(self, now: float, commit_s: float, may_start: MayStart, *, places_stages: bool) -> PlanInForce:
        """What is still to be done, as the planner sees it.

        Committed are stages that are due within ``commit_s`` and ``may_start`` in their places, and loads that are due
        within it or that give a model its turn. With ``places_stages`` loads are for the sake of stages: those that
        none is left for are forgotten, and none is committed.
        """
        ahead: dict[StageKey, int] = {}
        for queue in self.stages.values():
            for position, planned in enumerate(queue):
                ahead[planned.key] = max(position, ahead.get(planned.key, 0))
        starts = [
            StartInForce(key, p.accelerator, p.model, due_s, committed=due_s <= commit_s and may_start(p, ahead[key]))
            for key, p in self.place.items()
            for due_s in (p.start_at_s - now,)
        ]
        loads = [
            LoadInForce(load.accelerator, load.model, due_s, load.evicts, due_s <= commit_s or load.turn)
            for name, waiting in self.loads.items()
            for load in waiting
            for due_s in (load.load_at_s - now,)
            if load.accelerator == name and load.generation is None
        ]
        if places_stages:
            loads = [replace(found, committed=False) for found in loads if self.pending(found.accelerator, found.model)]
        return PlanInForce(
            tuple(sorted(starts, key=lambda start: (start.due_in_s, start.stage))),
            tuple(sorted(loads, key=lambda load: (load.due_in_s, load.accelerator))),
        )

    def add(self, planned: PlannedStage) -> None:
        """Puts a stage into its accelerators' order, behind those whose planned start is no later."""
        for name in self.members(planned.model, planned.accelerator):
            insort(self.stages.setdefault(name, []), planned, key=_start_at_s)
        self.place[planned.key] = planned

    def add_load(self, load: PlannedLoad) -> None:
        """Puts a load behind those of its accelerators that start no later."""
        for name in self.members(load.model, load.accelerator):
            queue = self.loads.setdefault(name, [])
            queue.append(load)
            queue.sort(key=lambda planned: planned.load_at_s)

    def is_next(self, load: PlannedLoad) -> bool:
        """Whether no other load is to come first on any of its accelerators."""
        return all(self.loads[name][0] is load for name in self.members(load.model, load.accelerator))

    def drop_load(self, load: PlannedLoad) -> None:
        """Forgets a load."""
        for name in self.members(load.model, load.accelerator):
            self.loads[name] = [other for other in self.loads[name] if other is not load]

    def keep_turns(self, earlier: Agenda) -> None:
        """Takes over the turns that were given and not begun; other loads on their accelerators give way."""
        turns = {id(load): load for queue in earlier.loads.values() for load in queue}.values()
        kept = [load for load in turns if load.turn and load.generation is None]
        for turn in kept:
            for name in self.members(turn.model, turn.accelerator):
                for load in list(self.loads.get(name, ())):
                    self.drop_load(load)
        for turn in kept:
            self.add_load(turn)

    def drop(self, key: StageKey) -> None:
        """Forgets a stage, if it is there."""
        planned = self.place.pop(key, None)
        if planned is None:
            return
        for name in self.members(planned.model, planned.accelerator):
            queue = self.stages[name]
            position = bisect_left(queue, planned.start_at_s, key=_start_at_s)
            while queue[position] is not planned:
                position += 1
            del queue[position]

    def drop_accelerators(self, names: Iterable[str]) -> list[StageKey]:
        """Forgets everything on those accelerators; the stages that had a place there are returned."""
        dropped = []
        for name in names:
            for load in list(self.loads.get(name, ())):
                self.drop_load(load)
            for planned in self.pending(name):
                self.drop(planned.key)
                dropped.append(planned.key)
        return dropped

    def pending(self, accelerator: str, model: str | None = None) -> list[PlannedStage]:
        """The accelerator's stages in order, only ``model``'s where one is given."""
        return [p for p in self.stages.get(accelerator, ()) if model is None or p.model == model]

    def next_eviction(self, accelerator: str, model: str, before_s: float = float("inf")) -> PlannedLoad | None:
        """The first load planned at or before ``before_s`` that evicts the model's replica."""
        found = [
            load
            for name in self.members(model, accelerator)
            for load in self.loads.get(name, ())
            if ReplicaPlace(model, accelerator) in load.evicts and load.load_at_s <= before_s + _SAME_INSTANT_S
        ]
        return min(found, key=lambda load: load.load_at_s, default=None)


def _planned_load(load: Residency, evicts: frozenset[ReplicaPlace], taken_at_s: float) -> PlannedLoad:
    return PlannedLoad(
        load.accelerator,
        load.model,
        taken_at_s + load.load_start_s,
        taken_at_s + load.ready_s,
        evicts,
        load.kv_pool_bytes,
    )
