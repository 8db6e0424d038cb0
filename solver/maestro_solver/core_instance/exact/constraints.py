"""The model's constraints, one private method a family."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from ortools.sat.python import cp_model

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.variables import StageVariables, Variables


class Constraints:
    """Relates the variables of one model."""

    def __init__(self, data: ModelData, model: cp_model.CpModel, variables: Variables) -> None:
        self._data = data
        self._instance = data.instance
        self._model = model
        self._variables = variables
        self._users: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        for stage, found in variables.stages.items():
            for option, literal in zip(data.options[stage], found.chosen, strict=True):
                self._users[option.copy].append(literal)

    def add_all(self) -> None:
        """Add every family."""
        self._run_each_stage_once()
        self._respect_precedence()
        self._stay_inside_a_ready_residency()
        self._load_only_what_is_used()
        self._load_what_is_nowhere()
        self._overflow_last()
        self._keep_residencies_of_a_pair_apart()
        self._load_one_model_at_a_time()
        self._fit_memory()
        self._fit_slots()
        self._complete_workflows_after_their_stages()

    def _run_each_stage_once(self) -> None:
        """A stage takes one option, within its window."""
        for stage, found in self._variables.stages.items():
            options = self._data.options[stage]
            self._model.add_exactly_one(found.chosen)
            first, last = min(o.first for o in options), max(o.last for o in options)
            for option, literal in zip(options, found.chosen, strict=True):
                if option.first > first:
                    self._model.add(found.start >= option.first).only_enforce_if(literal)
                if option.last < last:
                    self._model.add(found.start <= option.last).only_enforce_if(literal)

    def _respect_precedence(self) -> None:
        """A stage starts after its moving predecessors have ended, and later where the output crosses clusters."""
        for stage, found in self._variables.stages.items():
            for position in self._instance.predecessors[stage]:
                before = self._variables.stages.get(position)
                if before is not None:
                    end = before.start + self._instance.duration[position]
                    self._model.add(found.start >= end)
                    self._delay_crossings(found, before, end)

    def _delay_crossings(self, found: StageVariables, before: StageVariables, end: cp_model.LinearExpr) -> None:
        delay = self._instance.problem.network_delay
        if delay == 0:
            return
        for here, there in zip(found.in_cluster, before.in_cluster, strict=True):
            if isinstance(here, int) and here == 0:
                continue
            arrival = self._model.add(found.start >= end + delay - delay * there)
            if not isinstance(here, int):
                arrival.only_enforce_if(here)

    def _stay_inside_a_ready_residency(self) -> None:
        """A stage runs between its copy's ready time and its end."""
        for stage, found in self._variables.stages.items():
            duration = self._instance.duration[stage]
            for option, literal in zip(self._data.options[stage], found.chosen, strict=True):
                copy = self._variables.copies[option.copy]
                self._model.add(found.start + duration <= copy.end).only_enforce_if(literal)
                if not isinstance(copy.ready, int):
                    self._model.add(found.start >= copy.ready).only_enforce_if(literal)

    def _load_only_what_is_used(self) -> None:
        """An optional load is begun exactly if some stage runs inside it; an absent one stands still."""
        for position, copy in enumerate(self._variables.copies):
            if copy.present is None:
                continue
            users = self._users[position]
            self._model.add_bool_or(*users, copy.present.negated())
            for literal in users:
                self._model.add_implication(literal, copy.present)

    def _load_what_is_nowhere(self) -> None:
        """Every model that a moving stage needs has a copy there; redundant, but the bound knows it early."""
        by_model: dict[int, list[int]] = defaultdict(list)
        for position, copy in enumerate(self._variables.copies):
            by_model[copy.copy.pair[0]].append(position)
        for model in sorted({self._instance.model[stage] for stage in self._data.stages}):
            presences = [self._variables.copies[position].present for position in by_model[model]]
            optional = [present for present in presences if present is not None]
            if len(optional) == len(presences):
                self._model.add_bool_or(optional)

    def _overflow_last(self) -> None:
        """What stands for further loads comes after all others of its pair."""
        for positions in self._data.copies_of.values():
            copies = [self._variables.copies[position] for position in positions]
            for overflow in copies:
                if not overflow.copy.is_overflow or overflow.present is None:
                    continue
                for copy in copies:
                    if copy is not overflow:
                        self._model.add(overflow.load_start >= copy.end).only_enforce_if(overflow.present)
                        if copy.present is not None:
                            self._model.add_implication(overflow.present, copy.present)

    def _keep_residencies_of_a_pair_apart(self) -> None:
        """Two residencies of a model on an accelerator do not overlap."""
        for positions in self._data.copies_of.values():
            copies = [self._variables.copies[position] for position in positions]
            if len(copies) > 1 and any(copy.copy.is_free for copy in copies):
                self._model.add_no_overlap(copy.resident for copy in copies)
            elif len(copies) > 1:
                copies.sort(key=lambda found: found.copy.load_start)
                for copy, following in pairwise(copies):
                    self._model.add(copy.end <= following.copy.load_start)

    def _load_one_model_at_a_time(self) -> None:
        """Loads on one accelerator do not overlap."""
        for where in sorted(self._data.scope.accelerators):
            loads = [
                copy.loading
                for copy in self._variables.copies
                if copy.copy.pair[1] == where and copy.loading is not None
            ]
            if len(loads) > 1:
                self._model.add_no_overlap(loads)

    def _fit_memory(self) -> None:
        """Resident weights and the reservations of running stages fit each accelerator at every instant."""
        for where in range(self._instance.problem.accelerators):
            demands = [
                (interval, self._data.memory_in(stage, option))
                for stage, found in self._variables.stages.items()
                for option, interval in zip(self._data.options[stage], found.intervals, strict=True)
                if option.accelerator == where
            ]
            demands += [
                (copy.resident, self._instance.weights[copy.copy.pair[0]])
                for copy in self._variables.copies
                if copy.copy.pair[1] == where and not copy.copy.is_overflow
            ]
            if demands:
                demands += [(self._fixed(begin, end), used) for begin, end, used in self._data.fixed.memory(where)]
                self._fit(demands, self._instance.memory[where])

    def _fit_slots(self) -> None:
        """No more stages run at once than there are slots."""
        for where in range(self._instance.problem.accelerators):
            demands = [
                (interval, 1)
                for stage, found in self._variables.stages.items()
                for option, interval in zip(self._data.options[stage], found.intervals, strict=True)
                if option.accelerator == where
            ]
            if demands:
                demands += [(self._fixed(begin, end), used) for begin, end, used in self._data.fixed.slots(where)]
                self._fit(demands, int(self._instance.problem.accelerator_slots[where]))

    def _fixed(self, begin: int, end: int) -> cp_model.IntervalVar:
        return self._model.new_fixed_size_interval_var(begin, end - begin, "")

    def _fit(self, demands: list[tuple[cp_model.IntervalVar, int]], capacity: int) -> None:
        """The demands never sum to more than the capacity; nothing is added where they cannot."""
        if sum(amount for _, amount in demands) > capacity:
            self._model.add_cumulative([each for each, _ in demands], [amount for _, amount in demands], capacity)

    def _complete_workflows_after_their_stages(self) -> None:
        """A workflow completes no sooner than each of its moving stages ends."""
        for stage, found in self._variables.stages.items():
            if not self._instance.successors[stage]:
                workflow = self._variables.workflows[self._instance.workflow[stage]]
                self._model.add(workflow.completion >= found.start + self._instance.duration[stage])
