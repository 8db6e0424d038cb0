"""The model's constraints, one private method a family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from ortools.sat.python import cp_model

from maestro_solver.cpsat.data import ModelData, Pair
from maestro_solver.cpsat.variables import CopyVariables, OptionVariables, StageVariables, Variables
from maestro_solver.instance import GridRunning


class Constraints:
    """Relates the variables of one model."""

    def __init__(self, data: ModelData, model: cp_model.CpModel, variables: Variables) -> None:
        self._data = data
        self._instance = data.instance
        self._model = model
        self._variables = variables
        self._in_pair: dict[Pair, list[OptionVariables]] = defaultdict(list)
        self._on_accelerator: dict[int, list[OptionVariables]] = defaultdict(list)
        for stage in variables.stages.values():
            for option in stage.options:
                pair = (option.option.model, option.option.accelerator)
                self._in_pair[pair].append(option)
                for member in self._instance.members(*pair):
                    self._on_accelerator[member].append(option)

    def add_all(self) -> None:
        """Add every family."""
        self._plan_each_stage_once()
        self._defer_successors_of_deferred_stages()
        self._keep_fixed_starts()
        self._respect_releases()
        self._respect_precedence()
        self._stay_inside_one_ready_residency()
        self._load_only_what_is_used()
        self._keep_one_replica_of_a_pair_at_a_time()
        self._share_links()
        self._fit_memory()
        self._complete_workflows_after_their_stages()
        self._respect_budget()

    def _plan_each_stage_once(self) -> None:
        """A stage runs as one of its options, or is deferred; a tool stage only if a predecessor is."""
        for position, stage in self._variables.stages.items():
            if self._data.must_place:
                self._model.add(stage.deferred == 0)
            if self._instance.stages[position].external is None:
                self._model.add_exactly_one(stage.deferred, *(option.chosen for option in stage.options))
                standstill = self._data.standstill(position)
                self._model.add(stage.start == standstill).only_enforce_if(stage.deferred)
            else:
                before = [found.deferred for found in self._planned_predecessors(position)]
                self._model.add_bool_or(*before, stage.deferred.negated())

    def _defer_successors_of_deferred_stages(self) -> None:
        """A stage is planned only if all its predecessors are."""
        for position, stage in self._variables.stages.items():
            for before in self._planned_predecessors(position):
                self._model.add_implication(before.deferred, stage.deferred)

    def _keep_fixed_starts(self) -> None:
        """Stages that are not decided about start where they did."""
        for position, start in self._data.fixed.items():
            self._model.add(self._variables.stages[position].start == start)

    def _respect_releases(self) -> None:
        """A stage starts in a cluster only once its running and ended predecessors' outputs are there."""
        for position, stage in self._variables.stages.items():
            release = self._instance.stages[position].release
            for option in stage.options:
                earliest = release[self._instance.accelerators[option.option.accelerator].cluster]
                if earliest > self._data.earliest[position]:
                    self._model.add(stage.start >= earliest).only_enforce_if(option.chosen)

    def _respect_precedence(self) -> None:
        """A planned stage starts after its predecessors have ended, later still where the output crosses a network."""
        for position, stage in self._variables.stages.items():
            for before in self._planned_predecessors(position):
                self._model.add(stage.start >= before.end).only_enforce_if(stage.deferred.negated())
                delay = self._instance.network_delay
                for here, there in zip(stage.in_cluster, before.in_cluster, strict=False):
                    self._model.add(stage.start >= before.end + delay - delay * there).only_enforce_if(here)

    def _stay_inside_one_ready_residency(self) -> None:
        """A stage runs inside one copy of its pair, from its ready time to its end."""
        for stage in self._variables.stages.values():
            for option in stage.options:
                copies = self._variables.copies[option.option.model, option.option.accelerator]
                if len(copies) != 1:
                    self._model.add(sum(option.inside) == option.chosen)
                for copy, inside in zip(copies, option.inside, strict=False):
                    self._model.add(stage.start >= copy.ready).only_enforce_if(inside)
                    self._model.add(stage.start + option.option.duration <= copy.end).only_enforce_if(inside)

    def _load_only_what_is_used(self) -> None:
        """A load is begun exactly if some stage runs inside it; an absent one stands still at the start."""
        for pair, copies in self._variables.copies.items():
            for number, copy in enumerate(copies):
                if copy.replica is not None:
                    continue
                inside = [option.inside[number] for option in self._in_pair[pair]]
                self._model.add_max_equality(copy.present, inside)
                self._model.add(copy.load_start == 0).only_enforce_if(copy.present.negated())
                self._model.add(copy.end == self._data.last).only_enforce_if(copy.present.negated())

    def _keep_one_replica_of_a_pair_at_a_time(self) -> None:
        """A pair is loaded only after its earlier residency has ended; loads of a pair are begun in order."""
        leaving: dict[Pair, list[CopyVariables]] = defaultdict(list)
        for copy in self._variables.leaving:
            leaving[copy.pair].append(copy)
        for pair, copies in self._variables.copies.items():
            continued = [copy for copy in copies if copy.replica is not None]
            begun = [copy for copy in copies if copy.replica is None]
            for first in begun[:1]:
                for before in (*continued, *leaving[pair]):
                    self._model.add(first.load_start >= before.end).only_enforce_if(first.present)
            for before, after in pairwise(begun):
                self._model.add_implication(after.present, before.present)
                self._model.add(after.load_start >= before.end).only_enforce_if(after.present)

    def _share_links(self) -> None:
        """Loads on one node do not overlap; those that run now go first."""
        by_node: dict[int, list[CopyVariables]] = defaultdict(list)
        for (_, accelerator), copies in self._variables.copies.items():
            by_node[self._instance.accelerators[accelerator].node].extend(copies)
        for node, on_node in by_node.items():
            self._model.add_no_overlap(copy.loading for copy in on_node if copy.loading is not None)
            for copy in on_node:
                if copy.loading is not None:
                    self._model.add(copy.load_start >= self._instance.link_free[node]).only_enforce_if(copy.present)

    def _fit_memory(self) -> None:
        """Memory, pools, batches and slots, per accelerator."""
        pairs = self._variables.copies
        for accelerator in sorted({member for pair in pairs for member in self._instance.members(*pair)}):
            self._fit_device_memory(accelerator)
            self._fit_slots(accelerator)
        for pair in pairs:
            self._fit_batch(pair)
            if not self._instance.accelerators[pair[1]].elastic:
                self._fit_pools(pair)

    def _fit_device_memory(self, accelerator: int) -> None:
        """Resident models, and where KV is elastic the reservations, fit the device at every instant."""
        copies = [*self._variables.leaving, *(copy for each in self._variables.copies.values() for copy in each)]
        demands: list[tuple[cp_model.IntervalVar, int]] = [
            (copy.resident, copy.memory) for copy in copies if accelerator in self._instance.members(*copy.pair)
        ]
        demands += [
            (option.interval, option.option.kv)
            for option in self._on_accelerator[accelerator]
            if self._instance.accelerators[option.option.accelerator].elastic
        ]
        demands += [
            (interval, running.kv)
            for interval, running in self._running_on(accelerator)
            if self._instance.accelerators[running.accelerator].elastic
        ]
        self._fit(demands, self._instance.accelerators[accelerator].memory)

    def _fit_slots(self, accelerator: int) -> None:
        """No more stages run at once than there are slots."""
        demands = [(option.interval, 1) for option in self._on_accelerator[accelerator]]
        demands += [(interval, 1) for interval, _ in self._running_on(accelerator)]
        self._fit(demands, self._instance.accelerators[accelerator].slots)

    def _fit_batch(self, pair: Pair) -> None:
        """No more stages of a replica run at once than its batch allows; where the slots do not bind before."""
        limit = self._instance.models[pair[0]].max_batch
        if limit < self._instance.accelerators[pair[1]].slots:
            demands = [(option.interval, 1) for option in self._in_pair[pair]]
            self._fit([*demands, *((interval, 1) for interval, _ in self._running_in(pair))], limit)

    def _fit_pools(self, pair: Pair) -> None:
        """The reservations on a replica fit its fixed pool; a smaller pool than the pair's largest is filled up."""
        copies = self._variables.copies[pair]
        largest = max((copy.pool for copy in copies), default=0)
        demands = [(option.interval, option.option.kv) for option in self._in_pair[pair]]
        if any(copy.replica is not None for copy in copies):  # else what runs there runs on a draining replica
            demands += [(interval, running.kv) for interval, running in self._running_in(pair)]
        demands += [(copy.resident, largest - copy.pool) for copy in copies if copy.pool < largest]
        self._fit(demands, largest)

    def _fit(self, demands: list[tuple[cp_model.IntervalVar, int]], capacity: int) -> None:
        """The demands never sum to more than the capacity; nothing is added where they cannot."""
        if sum(amount for _, amount in demands) > capacity:
            self._model.add_cumulative([each for each, _ in demands], [amount for _, amount in demands], capacity)

    def _running_on(self, accelerator: int) -> Iterator[tuple[cp_model.IntervalVar, GridRunning]]:
        """The stages that run now and take a place of an accelerator, with their intervals."""
        for running in self._instance.running:
            if running.end > 0 and accelerator in self._instance.members(running.model, running.accelerator):
                yield self._model.new_fixed_size_interval_var(0, running.end, ""), running

    def _running_in(self, pair: Pair) -> Iterator[tuple[cp_model.IntervalVar, GridRunning]]:
        """Those in the replica of a pair."""
        for interval, running in self._running_on(pair[1]):
            if (running.model, running.accelerator) == pair:
                yield interval, running

    def _respect_budget(self) -> None:
        """No more accelerators are in use than the budget allows, in all and per cluster."""
        in_use = self._variables.in_use
        for position, used in enumerate(in_use):
            reasons = [option.chosen for option in self._on_accelerator[position]]
            if self._instance.accelerators[position].forced:
                self._model.add(used == 1)
            else:
                self._model.add_max_equality(used, [*reasons, 0])
        self._limit_use(list(range(len(in_use))), self._instance.budget.total)
        for name, limit in self._instance.budget.per_cluster.items():
            within = [
                position
                for position, found in enumerate(self._instance.accelerators)
                if self._instance.clusters[found.cluster] == name
            ]
            self._limit_use(within, limit)

    def _limit_use(self, positions: list[int], limit: int) -> None:
        forced = sum(self._instance.accelerators[position].forced for position in positions)
        if len(positions) > limit:
            self._model.add(sum(self._variables.in_use[position] for position in positions) <= max(limit, forced))

    def _complete_workflows_after_their_stages(self) -> None:
        """A workflow ends after each planned stage and what must follow it, and past the horizon if one is deferred."""
        for position, stage in self._variables.stages.items():
            found = self._instance.stages[position]
            workflow = self._variables.workflows[found.workflow]
            fastest = min((option.duration for option in found.options), default=0)
            rest = found.tail - (fastest if found.external is None else found.external)
            self._model.add(workflow.completion >= stage.end + rest).only_enforce_if(stage.deferred.negated())
            deferred_end = self._data.horizon + found.tail + self._data.charge
            self._model.add(workflow.completion >= deferred_end).only_enforce_if(stage.deferred)
        for stage_without_place in self._instance.stages:
            if stage_without_place.obstacle is not None:
                workflow = self._variables.workflows[stage_without_place.workflow]
                self._model.add(workflow.completion >= self._instance.horizon + stage_without_place.tail)

    def _planned_predecessors(self, position: int) -> Iterator[StageVariables]:
        """The predecessors that the model plans."""
        for before in self._instance.stages[position].predecessors:
            yield self._variables.stages[before]
