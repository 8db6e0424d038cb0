"""The model's variables, declared with their domains; what relates them is in ``constraints``."""

from __future__ import annotations

from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro_solver.cpsat.data import ModelData, Pair
from maestro_solver.instance import GridOption


@dataclass(frozen=True, slots=True)
class OptionVariables:
    """A stage may run as ``option`` (``chosen``), in one of the pair's copies (``inside``, by position of copy)."""

    option: GridOption
    chosen: cp_model.IntVar
    interval: cp_model.IntervalVar
    inside: tuple[cp_model.IntVar, ...]


@dataclass(frozen=True, slots=True)
class StageVariables:
    """A stage starts at ``start`` unless it is ``deferred``; ``end`` is a linear expression."""

    start: cp_model.IntVar
    end: cp_model.LinearExpr
    deferred: cp_model.IntVar
    options: tuple[OptionVariables, ...]
    in_cluster: tuple[cp_model.IntVar, ...]


@dataclass(frozen=True, slots=True)
class CopyVariables:
    """One residency of a pair: a replica of the snapshot (``replica``; always ``present``), or the k-th load of it.

    It holds ``memory`` on each of its accelerators.
    """

    pair: Pair
    replica: int | None
    pool: int
    memory: int
    present: cp_model.IntVar
    load_start: cp_model.LinearExpr | int
    ready: cp_model.LinearExpr | int
    end: cp_model.IntVar
    size: cp_model.IntVar
    resident: cp_model.IntervalVar
    loading: cp_model.IntervalVar | None


@dataclass(frozen=True, slots=True)
class WorkflowVariables:
    """A workflow's completion, whether it is late, its tardiness up to the cap, and whether that is at the cap."""

    completion: cp_model.IntVar
    late: cp_model.IntVar
    tardiness: cp_model.IntVar
    capped: cp_model.IntVar


class Variables:
    """All variables of one model."""

    def __init__(self, data: ModelData, model: cp_model.CpModel) -> None:
        """Declare them on ``model``."""
        self._data = data
        self._model = model
        self._open = {member for pair in data.pairs for member in data.instance.members(*pair)}
        self.copies = {pair: self._copies(pair) for pair in data.pairs}
        self.leaving = self._leaving()
        self.stages = {position: self._stage(position) for position in data.stages}
        self.in_use = [model.new_bool_var(f"use {found.name}") for found in data.instance.accelerators]
        self.workflows = [self._workflow(position) for position in range(len(data.instance.workflows))]
        self.crossings: dict[tuple[int, int], cp_model.IntVar] = {}

    def _copies(self, pair: Pair) -> tuple[CopyVariables, ...]:
        continued = [self._continued(pair, replica) for replica in self._data.replicas.get(pair, ())]
        begun = [self._begun(pair, number) for number in range(self._data.loads.get(pair, 0))]
        return (*continued, *begun)

    def _leaving(self) -> tuple[CopyVariables, ...]:
        """Replicas of the snapshot that no stage of the model uses, but that hold memory until they leave."""
        instance = self._data.instance
        used = {copy.replica for copies in self.copies.values() for copy in copies}
        return tuple(
            self._continued((replica.model, replica.accelerator), position)
            for position, replica in enumerate(instance.replicas)
            if position not in used
        )

    def _continued(self, pair: Pair, position: int) -> CopyVariables:
        """A replica of the snapshot: it can leave once it is ready and idle.

        A draining one leaves then; one that is pinned, or on accelerators that the model does not use, stays.
        """
        model, last = self._model, self._data.last
        replica = self._data.instance.replicas[position]
        idle = max(replica.ready, replica.busy_until)
        lowest, highest = idle, last
        if replica.draining:
            highest = idle
        elif pair in self._data.instance.pinned or self._open.isdisjoint(self._data.instance.members(*pair)):
            lowest = last
        end = model.new_int_var(lowest, highest, f"end of replica {position}")
        resident = model.new_interval_var(0, end, end, f"replica {position}")
        return CopyVariables(
            pair=pair,
            replica=position,
            pool=replica.pool,
            memory=replica.memory,
            present=model.new_int_var(1, 1, f"replica {position} is there"),
            load_start=0,
            ready=replica.ready,
            end=end,
            size=end,
            resident=resident,
            loading=None,
        )

    def _begun(self, pair: Pair, number: int) -> CopyVariables:
        """A load that may begin so early that the model is ready before the horizon."""
        model, instance, last = self._model, self._data.instance, self._data.last
        name = f"load {number} of {pair}"
        load = instance.load[pair]
        present = model.new_bool_var(name)
        start = model.new_int_var(0, max(0, self._data.horizon - load), f"{name} start")
        end = model.new_int_var(last if pair in instance.pinned else 0, last, f"{name} end")
        size = model.new_int_var(0, last, f"{name} size")
        return CopyVariables(
            pair=pair,
            replica=None,
            pool=instance.pool_of(*pair),
            memory=instance.memory_of(*pair),
            present=present,
            load_start=start,
            ready=start + load,
            end=end,
            size=size,
            resident=model.new_optional_interval_var(start, size, end, present, f"{name} resident"),
            loading=model.new_optional_fixed_size_interval_var(start, instance.link[pair], present, f"{name} loading"),
        )

    def _stage(self, position: int) -> StageVariables:
        model, instance = self._model, self._data.instance
        stage = instance.stages[position]
        earliest = self._data.standstill(position)
        deferred = model.new_bool_var(f"defer {stage.key}")
        if stage.external is not None:
            start = model.new_int_var(earliest, self._data.last, f"start {stage.key}")
            return StageVariables(start, start + stage.external, deferred, (), ())
        latest = self._data.latest.get(position)
        if latest is not None:
            model.add(deferred == 0)
        start = model.new_int_var(earliest, self._data.horizon - 1 if latest is None else latest, f"start {stage.key}")
        if self._data.earliest[position] >= self._data.horizon:
            model.add(deferred == 1)
        options = tuple(self._option(position, option, start) for option in self._data.options[position])
        end = start + sum(found.option.duration * found.chosen for found in options)
        return StageVariables(start, end, deferred, options, self._in_cluster(position, options))

    def _option(self, position: int, option: GridOption, start: cp_model.IntVar) -> OptionVariables:
        model = self._model
        name = f"stage {position} as {option.model} on {option.accelerator}"
        chosen = model.new_bool_var(name)
        copies = self.copies[option.model, option.accelerator]
        interval = model.new_optional_fixed_size_interval_var(start, option.duration, chosen, name)
        if len(copies) == 1:
            return OptionVariables(option, chosen, interval, (chosen,))
        inside = tuple(model.new_bool_var(f"{name} in {number}") for number in range(len(copies)))
        return OptionVariables(option, chosen, interval, inside)

    def _in_cluster(self, position: int, options: tuple[OptionVariables, ...]) -> tuple[cp_model.IntVar, ...]:
        """Per cluster whether the stage runs there; empty where the cluster makes no difference."""
        instance = self._data.instance
        if len(instance.clusters) < 2 or instance.network_delay == 0:
            return ()
        found = []
        for cluster, name in enumerate(instance.clusters):
            here = self._model.new_bool_var(f"stage {position} in {name}")
            there = [each for each in options if instance.accelerators[each.option.accelerator].cluster == cluster]
            self._model.add(sum(each.chosen for each in there) == here)
            found.append(here)
        return tuple(found)

    def _workflow(self, position: int) -> WorkflowVariables:
        model, data = self._model, self._data
        workflow = data.instance.workflows[position]
        tail = max((stage.tail for stage in data.instance.stages), default=0)
        latest = max(data.last + tail + data.charge, workflow.running_end)
        cap = data.instance.grid.ticks_down(data.instance.weights.tardy_cap_s)
        return WorkflowVariables(
            completion=model.new_int_var(workflow.running_end, latest, f"completion {workflow.id}"),
            late=model.new_bool_var(f"late {workflow.id}"),
            tardiness=model.new_int_var(0, max(0, cap), f"tardiness {workflow.id}"),
            capped=model.new_bool_var(f"capped {workflow.id}"),
        )
