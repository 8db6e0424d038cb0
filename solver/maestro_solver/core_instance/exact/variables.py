"""The model's variables, each declared with its domain and its value in the incumbent as a hint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.data import Copy, ModelData, Option


@dataclass(frozen=True, slots=True)
class CopyVariables:
    """One residency: whether it is ``present``, when its load starts (a number where it does not move), its end.

    ``resident`` is the time it holds memory beyond what is fixed; ``loading`` is None where nothing is loaded anew.
    """

    copy: Copy
    present: cp_model.IntVar | None
    load_start: cp_model.LinearExprT
    ready: cp_model.LinearExprT
    end: cp_model.IntVar
    resident: cp_model.IntervalVar
    loading: cp_model.IntervalVar | None


@dataclass(frozen=True, slots=True)
class StageVariables:
    """When a stage starts, which option it takes (``chosen``, by position of option), and in which clusters it can be.

    ``in_cluster`` holds, by cluster, a literal or the number 0 or 1 where that is settled.
    """

    start: cp_model.IntVar
    chosen: tuple[cp_model.IntVar, ...]
    intervals: tuple[cp_model.IntervalVar, ...]
    in_cluster: tuple[cp_model.IntVar | int, ...]


@dataclass(frozen=True, slots=True)
class WorkflowVariables:
    """A workflow's completion; whether it is late, its tardiness up to the cap and whether that is reached.

    ``late`` and ``tardiness`` are None where the workflow cannot be late.
    """

    completion: cp_model.IntVar
    late: cp_model.IntVar | None
    tardiness: cp_model.IntVar | None
    capped: cp_model.IntVar | None


class Variables:
    """All variables of one model."""

    def __init__(self, data: ModelData, model: cp_model.CpModel) -> None:
        """Declare them on ``model``."""
        self._data = data
        self._model = model
        self.copies = [self._declare_copy(copy) for copy in data.copies]
        self.stages = {stage: self._declare_stage(stage) for stage in data.stages}
        self.workflows = {workflow: self._declare_workflow(workflow) for workflow in data.workflows}

    def _integer(self, low: int, high: int, hint: int) -> cp_model.IntVar:
        variable = self._model.new_int_var(low, high, "")
        self._model.add_hint(variable, hint)
        return variable

    def _boolean(self, *, hint: bool) -> cp_model.IntVar:
        variable = self._model.new_bool_var("")
        self._model.add_hint(variable, hint)
        return variable

    def _declare_copy(self, copy: Copy) -> CopyVariables:
        if copy.must_be_present and not copy.is_free:
            return self._held_longer(copy)
        load = 0 if copy.initial else self._data.instance.load[copy.pair[0]]
        first_use, last_use = copy.pinned or (self._data.horizon, 0)
        begin: cp_model.LinearExprT = copy.load_start
        if copy.is_free and not copy.initial:
            begin = self._integer(0, first_use - load, copy.load_start)
        end = self._integer(last_use, self._data.horizon, copy.end)
        if copy.initial:
            return CopyVariables(copy, None, 0, 0, end, self._model.new_interval_var(0, end, end, ""), None)
        size = self._integer(0, self._data.horizon, copy.end - copy.load_start)
        if copy.must_be_present:
            resident = self._model.new_interval_var(begin, size, end, "")
            loading = self._model.new_fixed_size_interval_var(begin, load, "")
            return CopyVariables(copy, None, begin, begin + load, end, resident, loading)
        present = self._boolean(hint=copy.hinted)
        resident = self._model.new_optional_interval_var(begin, size, end, present, "")
        moved_loading: cp_model.IntervalVar | None = None
        if copy.is_free:
            moved_loading = self._model.new_optional_fixed_size_interval_var(begin, load, present, "")
        return CopyVariables(copy, present, begin, begin + load, end, resident, moved_loading)

    def _held_longer(self, copy: Copy) -> CopyVariables:
        """A row whose load does not move: only how long it is held beyond its fixed stages."""
        ready = copy.load_start + (0 if copy.initial else self._data.instance.load[copy.pair[0]])
        held = copy.pinned[1] if copy.pinned else ready
        end = self._integer(held, max(held, self._data.horizon), copy.end)
        size = self._integer(0, max(0, self._data.horizon - held), copy.end - held)
        resident = self._model.new_interval_var(held, size, end, "")
        return CopyVariables(copy, None, copy.load_start, ready, end, resident, None)

    def _declare_stage(self, stage: int) -> StageVariables:
        data = self._data
        options, duration = data.options[stage], data.instance.duration[stage]
        now = self._data.start[stage]
        start = self._integer(min(o.first for o in options), max(o.last for o in options), now)
        taken = data.row_of[stage]
        chosen = tuple(self._boolean(hint=data.copies[option.copy].row == taken) for option in options)
        intervals = tuple(
            self._model.new_optional_fixed_size_interval_var(start, duration, literal, "") for literal in chosen
        )
        return StageVariables(start, chosen, intervals, self._clusters(stage, options, chosen))

    def _clusters(
        self, stage: int, options: Sequence[Option], chosen: Sequence[cp_model.IntVar]
    ) -> tuple[cp_model.IntVar | int, ...]:
        cluster_of = self._data.instance.cluster
        found: list[cp_model.IntVar | int] = []
        now = cluster_of[self._data.accelerator[stage]]
        for cluster in range(self._data.instance.clusters):
            here = [literal for o, literal in zip(options, chosen, strict=True) if cluster_of[o.accelerator] == cluster]
            if len(here) in {0, len(options)}:
                found.append(int(bool(here)))
                continue
            literal = self._boolean(hint=cluster == now)
            self._model.add(sum(here) == literal)
            found.append(literal)
        return tuple(found)

    def _declare_workflow(self, workflow: int) -> WorkflowVariables:
        data, costs = self._data, self._data.instance.costs
        first, last = data.first_completion[workflow], data.last_completion[workflow]
        now = int(data.completions[workflow])
        completion = self._integer(first, last, now)
        due, counted_from = int(costs.due[workflow]), int(costs.due_for_tardiness[workflow])
        late = self._boolean(hint=now > due) if last > due else None
        if last <= counted_from:
            return WorkflowVariables(completion, late, None, None)
        over = min(max(0, now - counted_from), costs.tardy_cap)
        tardiness = self._integer(0, min(costs.tardy_cap, last - counted_from), over)
        can_be_capped = last - counted_from > costs.tardy_cap
        capped = self._boolean(hint=now - counted_from > costs.tardy_cap) if can_be_capped else None
        return WorkflowVariables(completion, late, tardiness, capped)
