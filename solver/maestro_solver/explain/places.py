"""What another place would cost: the plan is carried out once more, in its own order, with one stage elsewhere.

The list scheduler places every stage where the plan has it, in the order of the planned starts, and goes on with the
deferred ones; then the same with the stage in question tied to another place. Only the difference counts, so that what
the list scheduler does worse than the plan is not charged to the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from maestro.plan import Assignment, Plan
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.discretize import discretize
from maestro_solver.explain.data import Binding, PlaceCost
from maestro_solver.grid import Grid
from maestro_solver.heuristics.continuation import CONTINUATION_POLICY
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.instance import GridOption
from maestro_solver.objective import Evaluation, evaluate
from maestro_solver.schedule import Schedule

_PATIENCE: Final = 1.0
"""As the continuation of plans has it."""

_FIRST: Final = float("-inf")


class Places:
    """The places of one plan's stages, and what others would cost."""

    def __init__(self, snapshot: Snapshot, plan: Plan, tick_s: float) -> None:
        """Carry the plan out once; raises InvalidInputError where the snapshot contradicts itself."""
        self._snapshot = snapshot
        self._instance = discretize(snapshot, Grid.suited(snapshot, tick_s), plan.horizon_s)
        self._position = {stage.key: position for position, stage in enumerate(self._instance.stages)}
        self._planned = {found.stage: found for found in plan.assignments}
        used = {(found.model, found.accelerator) for found in plan.assignments}
        used |= {(found.model, found.accelerator) for found in plan.residencies if not found.initial}
        self._in_use = {found.name for found in self._instance.accelerators if found.forced}
        self._in_use.update(name for place in used for name in snapshot.members(*place))
        self._keys = self._planned_order()
        self._base_schedule, self._base = self._carried_out(None, None)

    def others(self, key: StageKey) -> tuple[PlaceCost, ...]:
        """Every place but the planned one, the cheapest first, those that cannot be last."""
        stage = self._instance.stages[self._position[key]]
        planned = self._planned.get(key)
        found = [self._cost(key, option) for option in stage.options if not self._is_planned(planned, option)]
        found += self._impossible(key)
        return tuple(sorted(found, key=_rank))

    def _planned_order(self) -> list[tuple[float, ...]]:
        """Planned stages by their start, then deferred ones by the order in which plans are continued."""
        after = order_keys(self._instance, CONTINUATION_POLICY)
        return [
            (0.0, self._planned[stage.key].start_s, *(0.0 for _ in key))
            if stage.key in self._planned
            else (float(stage.external is None), 0.0, *key)
            for stage, key in zip(self._instance.stages, after, strict=True)
        ]

    def _carried_out(self, key: StageKey | None, option: GridOption | None) -> tuple[Schedule, Evaluation]:
        """Every stage at its place, the one named at ``option``; a deferred one then goes before all others."""
        stages = tuple(
            replace(stage, options=(option,))
            if stage.key == key and option is not None
            else replace(stage, options=tuple(self._options(stage.key, stage.options)))
            for stage in self._instance.stages
        )
        keys = list(self._keys)
        if key is not None and key not in self._planned:
            keys[self._position[key]] = (_FIRST, *keys[self._position[key]][1:])
        instance = replace(self._instance, stages=stages)
        schedule = list_schedule(instance, keys, _PATIENCE)
        return schedule, evaluate(instance, schedule)

    def _options(self, key: StageKey, options: tuple[GridOption, ...]) -> Iterator[GridOption]:
        planned = self._planned.get(key)
        for option in options:
            if planned is None or self._is_planned(planned, option):
                yield option

    def _is_planned(self, planned: Assignment | None, option: GridOption) -> bool:
        names = (self._instance.accelerators[option.accelerator].name, self._instance.models[option.model].name)
        return planned is not None and names == (planned.accelerator, planned.model)

    def _cost(self, key: StageKey, option: GridOption) -> PlaceCost:
        accelerator = self._instance.accelerators[option.accelerator]
        model = self._instance.models[option.model].name
        if self._exceeds_budget(option):
            return PlaceCost(accelerator.name, model, obstacle=Binding.BUDGET)
        schedule, evaluation = self._carried_out(key, option)
        span = schedule.spans.get(self._position[key])
        if span is None:
            return PlaceCost(accelerator.name, model, obstacle=self._why_never(option))
        return PlaceCost(
            accelerator=accelerator.name,
            model=model,
            start_s=self._instance.grid.seconds(span.start),
            end_s=self._instance.grid.seconds(span.end),
            objective_change=evaluation.objective - self._base.objective,
            term_changes={name: cost - self._base.terms[name] for name, cost in evaluation.terms.items()},
            loads=_loads(schedule) - _loads(self._base_schedule),
        )

    def _exceeds_budget(self, option: GridOption) -> bool:
        """Whether its accelerators are more than the budget allows beside those that the plan uses."""
        accelerators, budget = self._instance.accelerators, self._instance.budget
        members = self._instance.members(option.model, option.accelerator)
        fresh = sum(accelerators[member].name not in self._in_use for member in members)
        if fresh == 0:
            return False
        at = accelerators[option.accelerator].cluster
        used_in = sum(each.cluster == at and each.name in self._in_use for each in accelerators)
        limit = budget.per_cluster.get(self._instance.clusters[at], used_in + fresh)
        return len(self._in_use) + fresh > budget.total or used_in + fresh > limit

    def _why_never(self, option: GridOption) -> Binding:
        """Why a place that could hold the stage does not: pinned models keep its model out."""
        is_loadable = (option.model, option.accelerator) in self._instance.load
        here = set(self._instance.members(option.model, option.accelerator))
        others = any(
            model != option.model and not here.isdisjoint(self._instance.members(model, where))
            for model, where in self._instance.pinned
        )
        return Binding.PINNED_MODEL if is_loadable and others else Binding.NEVER_FITS

    def _impossible(self, key: StageKey) -> Iterator[PlaceCost]:
        """Accelerators of a kind that the stage can run on which can never hold it."""
        possible = {
            (self._instance.accelerators[option.accelerator].name, self._instance.models[option.model].name)
            for option in self._instance.stages[self._position[key]].options
        }
        for option in self._snapshot.waiting[self._position[key]].options:
            for accelerator in self._snapshot.accelerators:
                names = (accelerator.name, option.model)
                is_place = len(self._snapshot.members(option.model, accelerator.name)) == self._size_of(option.model)
                if accelerator.kind == option.kind and names not in possible and is_place:
                    yield PlaceCost(*names, obstacle=Binding.NEVER_FITS)

    def _size_of(self, model: str) -> int:
        """How many accelerators a replica of the model takes; 1 where the snapshot does not know it."""
        found = self._snapshot.models.get(model)
        return 1 if found is None else found.tensor_parallel_size


def _loads(schedule: Schedule) -> int:
    return sum(found.replica is None for found in schedule.residents)


def _rank(place: PlaceCost) -> tuple[bool, float, str, str]:
    change = place.objective_change
    return change is None, change if change is not None else 0.0, place.accelerator, place.model
