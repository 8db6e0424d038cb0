"""An incumbent as a complete hint: a value for every variable, so that the solver starts from a whole solution."""

from __future__ import annotations

from collections import defaultdict

from ortools.sat.python import cp_model

from maestro_solver.cpsat.data import ModelData, Pair
from maestro_solver.cpsat.variables import CopyVariables, StageVariables, Variables
from maestro_solver.schedule import Resident


class Hint:
    """Writes one incumbent's values into a model."""

    def __init__(self, data: ModelData, model: cp_model.CpModel, variables: Variables) -> None:
        self._data = data
        self._instance = data.instance
        self._model = model
        self._variables = variables
        self._planned = data.incumbent
        self._host_of: dict[int, Resident] = {}
        self._resident_of: dict[tuple[Pair, int], Resident] = {}

    def write(self) -> None:
        """Hint every variable of the model."""
        self._find_hosts()
        self._match_copies()
        for position, stage in self._variables.stages.items():
            self._write_stage(position, stage)
        for pair, copies in self._variables.copies.items():
            for number, copy in enumerate(copies):
                self._write_copy(copy, self._resident_of.get((pair, number)))
        for copy in self._variables.leaving:
            self._write_copy(copy, self._resident_of_replica(copy))
        self._write_use()
        for position in range(len(self._instance.workflows)):
            self._write_workflow(position)
        self._write_crossings()

    def _find_hosts(self) -> None:
        """The residency that each planned stage runs in."""
        for position, option in self._planned.options.items():
            span = self._planned.spans[position]
            for resident in self._planned.residents:
                same = (resident.model, resident.accelerator) == (option.model, option.accelerator)
                if same and resident.ready <= span.start and (resident.end is None or span.end <= resident.end):
                    self._host_of[position] = resident

    def _match_copies(self) -> None:
        """Which residency of the incumbent each copy stands for; loads that serve nobody are left out."""
        serving = set(self._host_of.values())
        begun: dict[Pair, list[Resident]] = defaultdict(list)
        for resident in sorted(self._planned.residents, key=lambda found: found.load_start):
            if resident.replica is None and resident in serving:
                begun[resident.model, resident.accelerator].append(resident)
        for pair, copies in self._variables.copies.items():
            loads = iter(begun[pair])
            for number, copy in enumerate(copies):
                found = self._resident_of_replica(copy) if copy.replica is not None else next(loads, None)
                if found is not None:
                    self._resident_of[pair, number] = found

    def _resident_of_replica(self, copy: CopyVariables) -> Resident | None:
        return next((found for found in self._planned.residents if found.replica == copy.replica), None)

    def _write_stage(self, position: int, stage: StageVariables) -> None:
        span = self._planned.spans.get(position)
        deferred = span is None
        self._hint(stage.deferred, deferred)
        self._hint(stage.start, self._start_of(position))
        chosen = self._planned.options.get(position)
        for found in stage.options:
            self._hint(found.chosen, found.option == chosen)
            pair = (found.option.model, found.option.accelerator)
            for number, inside in enumerate(found.inside):
                if inside is not found.chosen:
                    resident = self._resident_of.get((pair, number))
                    host = self._host_of.get(position)
                    self._hint(inside, found.option == chosen and host is not None and resident == host)
        for cluster, here in enumerate(stage.in_cluster):
            self._hint(here, chosen is not None and self._instance.accelerators[chosen.accelerator].cluster == cluster)

    def _start_of(self, position: int) -> int:
        """The stage's start, for a deferred one the earliest that its variable allows."""
        span = self._planned.spans.get(position)
        if span is not None:
            return span.start
        return self._data.standstill(position)

    def _write_copy(self, copy: CopyVariables, resident: Resident | None) -> None:
        end = self._data.last if resident is None or resident.end is None else resident.end
        self._hint(copy.present, resident is not None)
        self._hint(copy.end, end)
        if copy.replica is not None:
            return
        start = 0 if resident is None else resident.load_start
        if isinstance(copy.load_start, cp_model.IntVar):
            self._hint(copy.load_start, start)
        self._hint(copy.size, end - start)

    def _write_use(self) -> None:
        pairs = {(option.model, option.accelerator) for option in self._planned.options.values()}
        used = {member for pair in pairs for member in self._instance.members(*pair)}
        for position, variable in enumerate(self._variables.in_use):
            self._hint(variable, position in used or self._instance.accelerators[position].forced)

    def _write_workflow(self, position: int) -> None:
        workflow, variables = self._instance.workflows[position], self._variables.workflows[position]
        completion = self._completion(position)
        over = max(0, completion - workflow.deadline)
        cap = max(0, self._instance.grid.ticks_down(self._instance.weights.tardy_cap_s))
        self._hint(variables.completion, completion)
        self._hint(variables.late, over > 0)
        self._hint(variables.capped, over > cap)
        self._hint(variables.tardiness, min(over, cap))

    def _completion(self, position: int) -> int:
        """The least completion that the model allows for the incumbent's decisions."""
        completion = self._instance.workflows[position].running_end
        for at, stage in enumerate(self._instance.stages):
            if stage.workflow != position:
                continue
            span = self._planned.spans.get(at)
            if span is None:
                starts = self._data.horizon + self._data.charge if stage.obstacle is None else self._instance.horizon
                completion = max(completion, starts + stage.tail)
            else:
                fastest = min((option.duration for option in stage.options), default=0)
                rest = stage.tail - (fastest if stage.external is None else stage.external)
                completion = max(completion, span.end + rest)
        return completion

    def _write_crossings(self) -> None:
        for (before, after), crossing in self._variables.crossings.items():
            clusters = {
                self._instance.accelerators[self._planned.options[position].accelerator].cluster
                for position in (before, after)
                if position in self._planned.options
            }
            self._hint(crossing, after in self._planned.options and len(clusters) > 1)

    def _hint(self, variable: cp_model.IntVar, value: int) -> None:
        self._model.add_hint(variable, int(value))
