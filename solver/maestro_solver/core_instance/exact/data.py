"""What the model is built from: windows, copies and options that can still improve on the incumbent.

The incumbent is a valid plan; whatever is kept here contains it, so it is a complete hint.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from maestro_solver.core_instance.bounds.completion import necessary_loads
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.profile import FixedUse
from maestro_solver.core_instance.exact.scope import Scope
from maestro_solver.core_instance.problem import CorePlan, Integers

_ROUNDING: Final = 1e-6
"""Sums of costs differ by this much with the order of summation."""

Pair = tuple[int, int]
"""A model on an accelerator."""


@dataclass(frozen=True)
class Copy:
    """One residency that the model decides about: a row of the incumbent (``row``) or one load more (None).

    ``pinned`` are the incumbent's stages inside it that do not move, as (first start, last end), or None.
    """

    pair: Pair
    row: int | None
    initial: bool
    is_free: bool
    hinted: bool
    load_start: int
    end: int
    pinned: tuple[int, int] | None
    is_overflow: bool = False
    """Stands for all loads of the pair beyond those the model tells apart: a plan must not use it, a bound may.

    It costs one load and holds no weights but a slot's share of them for every stage that runs in it.
    """

    @property
    def must_be_present(self) -> bool:
        """Whether the row stays whatever the moving stages do."""
        return self.initial or self.pinned is not None


@dataclass(frozen=True)
class Option:
    """A stage may run in a copy, starting between two ticks."""

    copy: int
    accelerator: int
    first: int
    last: int


class ModelData:
    """One model's sets and windows: the instance, an incumbent, and what is in scope."""

    def __init__(self, instance: Instance, incumbent: CorePlan, scope: Scope) -> None:
        """A pair may be loaded once more often than in the incumbent.

        With everything in scope the horizon is so long that no better plan ends after it; else it is the incumbent's.
        """
        self.instance = instance
        self.incumbent = incumbent
        self.scope = scope
        self.stages = sorted(scope.stages)
        self.start: list[int] = incumbent.start.tolist()
        self.accelerator: list[int] = incumbent.accelerator.tolist()
        self.workflows = sorted({instance.workflow[stage] for stage in self.stages})
        self._set_windows()
        self.fixed = FixedUse(instance.problem.accelerators)
        self.copies = self._incumbent_copies() + self._extra_copies()
        self.copies_of: dict[Pair, list[int]] = defaultdict(list)
        for position, copy in enumerate(self.copies):
            self.copies_of[copy.pair].append(position)
        self.options = {stage: self._options(stage) for stage in self.stages}
        self._record_fixed_use()

    def end_of(self, stage: int) -> int:
        """When the stage ends in the incumbent."""
        return self.start[stage] + self.instance.duration[stage]

    @property
    def is_everything(self) -> bool:
        """Whether nothing is fixed, so that the model's bound holds for every plan."""
        problem = self.instance.problem
        return len(self.scope.stages) == problem.stages and len(self.scope.accelerators) == problem.accelerators

    @cached_property
    def completions(self) -> Integers:
        """When each workflow completes in the incumbent."""
        done = np.zeros(self.instance.problem.workflows, dtype=np.int64)
        ends = self.incumbent.start + self.instance.problem.stage_duration
        np.maximum.at(done, self.instance.problem.stage_workflow, ends)
        return done

    @cached_property
    def row_of(self) -> list[int]:
        """The residency row of the incumbent in which each stage runs."""
        plan, load = self.incumbent, self.instance.problem.model_load
        rows_of: dict[Pair, list[tuple[int, int, int]]] = defaultdict(list)
        ready = plan.residency_load_start + np.where(plan.residency_initial, 0, load[plan.residency_model])
        columns = (plan.residency_model, plan.residency_accelerator, ready, plan.residency_end)
        for row, (model, where, first, last) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            rows_of[model, where].append((first, last, row))
        found = []
        for stage, start in enumerate(self.start):
            pair = (self.instance.model[stage], self.accelerator[stage])
            end = self.end_of(stage)
            found.append(next(row for first, last, row in rows_of[pair] if first <= start and end <= last))
        return found

    def _set_windows(self) -> None:
        """Earliest start and latest end of each stage in scope, and the ticks within which workflows complete."""
        instance, scope = self.instance, self.scope.stages
        self.earliest: dict[int, int] = {}
        for stage in self.stages:
            first = int(instance.ends_by_cluster[stage].min()) - instance.duration[stage]
            for before in instance.predecessors[stage]:
                done = self.earliest[before] + instance.duration[before] if before in scope else self.end_of(before)
                first = max(first, done)
            self.earliest[stage] = first
        self._bound_completions()
        self.latest: dict[int, int] = {}
        for stage in reversed(self.stages):
            last = self.last_completion[instance.workflow[stage]]
            for after in instance.successors[stage]:
                limit = self.latest[after] - instance.duration[after] if after in scope else self.start[after]
                last = min(last, limit)
            self.latest[stage] = last

    def _bound_completions(self) -> None:
        """A workflow that completes later than ``last_completion`` costs more than all others can win back."""
        instance, scope = self.instance, self.scope.stages
        first = self.completions.copy()
        chosen = np.array(self.workflows, dtype=np.int64)
        for workflow in self.workflows:
            stages = instance.problem.stages_of(workflow).tolist()
            ends = [self.earliest[s] + instance.duration[s] if s in scope else self.end_of(s) for s in stages]
            first[workflow] = max(ends)
        least, now = instance.costs.at(first), instance.costs.at(self.completions)
        self.slack = float((now - least)[chosen].sum()) + self._loads_in_scope() + _ROUNDING
        horizon = int(self.completions.max(initial=0))
        if self.is_everything:
            horizon = max(horizon, instance.serial_horizon)
        last = instance.costs.latest_within(least + self.slack, first, horizon)
        self.first_completion = {workflow: int(first[workflow]) for workflow in self.workflows}
        self.last_completion = {workflow: int(last[workflow]) for workflow in self.workflows}
        self.horizon = max([*self.last_completion.values(), int(self.completions.max(initial=0))])

    def _loads_in_scope(self) -> float:
        """What the loads cost that the model may drop, at most."""
        plan = self.incumbent
        chosen = ~plan.residency_initial & np.isin(plan.residency_accelerator, list(self.scope.accelerators))
        loads = float(self.instance.load_cost[plan.residency_model[chosen]].sum())
        return loads - necessary_loads(self.instance.problem) if self.is_everything else loads

    def _incumbent_copies(self) -> list[Copy]:
        plan = self.incumbent
        spans: dict[int, tuple[int, int]] = {}
        last_use: dict[int, int] = {}
        for stage, row in enumerate(self.row_of):
            last_use[row] = max(last_use.get(row, 0), self.end_of(stage))
            if stage not in self.scope.stages:
                first, last = spans.get(row, (self.start[stage], 0))
                spans[row] = (min(first, self.start[stage]), max(last, self.end_of(stage)))
        needed = {self.instance.model[stage] for stage in self.stages}
        copies = []
        for row, (model, where) in enumerate(
            zip(plan.residency_model.tolist(), plan.residency_accelerator.tolist(), strict=True)
        ):
            begin, initial = int(plan.residency_load_start[row]), bool(plan.residency_initial[row])
            end = last_use.get(row, begin if initial else begin + self.instance.load[model])
            is_free = where in self.scope.accelerators
            if is_free or model in needed:
                copies.append(Copy((model, where), row, initial, is_free, row in last_use, begin, end, spans.get(row)))
            else:
                self.fixed.hold(where, begin, end, self.instance.weights[model], 0)
        return copies

    def _extra_copies(self) -> list[Copy]:
        """Loads beyond the incumbent's, where one can pay: on accelerators in scope, of models that stages need."""
        instance = self.instance
        least_kv: dict[int, int] = {}
        for stage in self.stages:
            model = instance.model[stage]
            least_kv[model] = min(least_kv.get(model, instance.kv[stage]), instance.kv[stage])
        pairs = [
            (model, where)
            for where in sorted(self.scope.accelerators)
            for model, kv in sorted(least_kv.items())
            if kv + instance.weights[model] <= instance.memory[where] and instance.load_cost[model] <= self.slack
        ]
        copies = [_extra_copy(pair) for pair in pairs]
        if self.is_everything:
            copies += [_extra_copy(pair, is_overflow=True) for pair in pairs]
        return copies

    def _options(self, stage: int) -> list[Option]:
        """The copies in which the stage can run, each with its window; none that cannot hold it."""
        instance = self.instance
        first, last = self._windows_by_cluster(stage)
        model, duration = instance.model[stage], instance.duration[stage]
        found = []
        for where in range(instance.problem.accelerators):
            if instance.weights[model] + instance.kv[stage] > instance.memory[where]:
                continue
            cluster = instance.cluster[where]
            for position in self.copies_of.get((model, where), ()):
                copy = self.copies[position]
                ready = 0 if copy.initial else instance.load[model] + (0 if copy.is_free else copy.load_start)
                start = max(first[cluster], ready)
                if start <= last[cluster] - duration:
                    found.append(Option(position, where, start, last[cluster] - duration))
        return found

    def _windows_by_cluster(self, stage: int) -> tuple[list[int], list[int]]:
        """Earliest start and latest end if the stage runs in a cluster, after stages that do not move."""
        instance, delay = self.instance, self.instance.problem.network_delay
        first = [self.earliest[stage]] * instance.clusters
        last = [self.latest[stage]] * instance.clusters
        for cluster in range(instance.clusters):
            for before in instance.predecessors[stage]:
                if before not in self.scope.stages:
                    away = delay * (instance.cluster[self.accelerator[before]] != cluster)
                    first[cluster] = max(first[cluster], self.end_of(before) + away)
            for after in instance.successors[stage]:
                if after not in self.scope.stages:
                    away = delay * (instance.cluster[self.accelerator[after]] != cluster)
                    last[cluster] = min(last[cluster], self.start[after] - away)
        return first, last

    def _record_fixed_use(self) -> None:
        """What stages that do not move hold, and the rows that only stay."""
        instance = self.instance
        for stage in range(instance.problem.stages):
            if stage not in self.scope.stages:
                where, kv = self.accelerator[stage], instance.kv[stage]
                self.fixed.hold(where, self.start[stage], self.end_of(stage), kv, 1)
        for copy in self.copies:
            if copy.must_be_present and not copy.is_free:
                model, where = copy.pair
                held_until = copy.pinned[1] if copy.pinned else self._ready(copy)
                self.fixed.hold(where, copy.load_start, held_until, instance.weights[model], 0)

    def memory_in(self, stage: int, option: Option) -> int:
        """What the stage holds beside the weights that its copy holds."""
        model, where = self.instance.model[stage], option.accelerator
        slots = int(self.instance.problem.accelerator_slots[where])
        share = self.instance.weights[model] // slots if self.copies[option.copy].is_overflow else 0
        return self.instance.kv[stage] + share

    def _ready(self, copy: Copy) -> int:
        return copy.load_start + (0 if copy.initial else self.instance.load[copy.pair[0]])


def _extra_copy(pair: Pair, *, is_overflow: bool = False) -> Copy:
    """A load that the incumbent does not have."""
    return Copy(
        pair,
        None,
        initial=False,
        is_free=True,
        hinted=False,
        load_start=0,
        end=0,
        pinned=None,
        is_overflow=is_overflow,
    )
