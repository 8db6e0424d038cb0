"""The format ``maestro-core-instance/1``: what an instance document says, validated, and the plan document.

``read_instance`` takes parsed JSON and answers with an ``InstanceDocument`` in which every name is known and unique,
every number finite and in range, stages stand after their predecessors, and every stage fits on some accelerator.
Whatever is wrong is an InvalidInputError with the path to the value, the value, and the remedy.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maestro.errors import InvalidInputError
from maestro_solver.core_instance.problem import (
    OPEN_END,
    CorePlan,
    CoreProblem,
    memory_units_down,
    memory_units_up,
)

FORMAT: Final = "maestro-core-instance/1"

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1)]


class _Row(BaseModel):
    """A JSON object: numbers are numbers (no strings, no booleans); keys that the format does not know are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)


class Weights(_Row):
    """Weights of the objective's terms."""

    late: _NotNegative
    tardy: _NotNegative
    tardy_cap_s: _NotNegative
    latency: _NotNegative
    swap: _NotNegative


class Model(_Row):
    """A model and the device memory that its weights take."""

    name: _Name
    weights_gib: _NotNegative


class Accelerator(_Row):
    """An accelerator: its network domain, memory, the stages it runs at once, and what is resident at the start."""

    name: _Name
    cluster: _Name
    memory_gib: _Positive
    slots: Annotated[int, Field(ge=1)]
    resident: list[_Name]


class Workflow(_Row):
    """A workflow's deadline, seconds from now (negative: already past), and weight."""

    name: _Name
    deadline_s: _Finite
    weight: _NotNegative


class Stage(_Row):
    """A stage: its workflow, model, running time, KV reservation, and the stages it waits for."""

    name: _Name
    workflow: _Name
    model: _Name
    duration_s: _Positive
    kv_gib: _NotNegative
    predecessors: list[_Name]


class InstanceDocument(_Row):
    """A whole instance; lists are in the order of the document."""

    format: Literal["maestro-core-instance/1"]
    tick_s: _Positive
    network_delay_s: _NotNegative
    load_gib_per_s: _Positive
    weights: Weights
    models: list[Model]
    accelerators: Annotated[list[Accelerator], Field(min_length=1)]
    workflows: list[Workflow]
    stages: list[Stage]


def read_instance(values: object) -> InstanceDocument:
    """The instance that parsed JSON describes; raises InvalidInputError as the module's docstring says."""
    if not isinstance(values, Mapping):
        raise InvalidInputError("instance", "must be an object", value=values)
    if values.get("format") != FORMAT:
        found = values.get("format")
        raise InvalidInputError("format", "is not a known version", value=found, remedy=f"write {FORMAT!r}")
    try:
        document = InstanceDocument.model_validate(values)
    except ValidationError as error:
        raise _invalid(error) from None
    _check_names(document)
    _check_order(document.stages)
    _check_memory(document)
    return document


def plan_document(problem: CoreProblem, plan: CorePlan) -> dict[str, Any]:
    """The plan in the format's own words: ``assignments`` and ``residency``, times in seconds."""
    tick_s = problem.tick_s
    assignments = [
        {"stage": name, "accelerator": problem.accelerator_names[where], "start_s": _seconds(start, tick_s)}
        for name, where, start in zip(problem.stage_names, plan.accelerator.tolist(), plan.start.tolist(), strict=True)
    ]
    residency = [
        {
            "model": problem.model_names[model],
            "accelerator": problem.accelerator_names[where],
            "load_start_s": _seconds(begin, tick_s),
            "end_s": None if end >= OPEN_END else _seconds(end, tick_s),
            "initial": initial,
        }
        for model, where, begin, end, initial in zip(
            plan.residency_model.tolist(),
            plan.residency_accelerator.tolist(),
            plan.residency_load_start.tolist(),
            plan.residency_end.tolist(),
            plan.residency_initial.tolist(),
            strict=True,
        )
    ]
    return {"assignments": assignments, "residency": residency}


def _seconds(ticks: int, tick_s: float) -> float:
    """Seconds without the noise of binary fractions, so that the document reads 12.3 and not 12.300000000000001."""
    return round(ticks * tick_s, 9)


def _invalid(error: ValidationError) -> InvalidInputError:
    """The first thing that pydantic found wrong, as a typed error."""
    first = error.errors()[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return InvalidInputError(field, "is missing", remedy=f"the format {FORMAT} requires it")
    return InvalidInputError(field, first["msg"][0].lower() + first["msg"][1:], value=first["input"])


def _check_names(document: InstanceDocument) -> None:
    models = _unique("models", document.models)
    _unique("accelerators", document.accelerators)
    workflows = _unique("workflows", document.workflows)
    stages = _unique("stages", document.stages)
    for index, accelerator in enumerate(document.accelerators):
        field = f"accelerators[{index}].resident"
        _check_known(field, accelerator.resident, models, "models")
        if len(set(accelerator.resident)) != len(accelerator.resident):
            raise InvalidInputError(field, "names a model twice", value=accelerator.resident)
    for index, stage in enumerate(document.stages):
        _check_known(f"stages[{index}].workflow", [stage.workflow], workflows, "workflows")
        _check_known(f"stages[{index}].model", [stage.model], models, "models")
        _check_known(f"stages[{index}].predecessors", stage.predecessors, stages, "stages")


def _unique(field: str, rows: Iterable[Model | Accelerator | Workflow | Stage]) -> set[str]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if row.name in seen:
            raise InvalidInputError(f"{field}[{index}].name", "is taken", value=row.name, remedy="names are unique")
        seen.add(row.name)
    return seen


def _check_known(field: str, names: Iterable[str], known: set[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise InvalidInputError(field, "is an unknown name", value=name, remedy=f"add it to {where!r} or remove it")


def _check_order(stages: Sequence[Stage]) -> None:
    """Stages stand after their predecessors, which are of the same workflow; so there is no cycle."""
    workflow_of = {stage.name: stage.workflow for stage in stages}
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        for before in stage.predecessors:
            field = f"stages[{index}].predecessors"
            if workflow_of[before] != stage.workflow:
                remedy = f"a stage waits only for stages of its own workflow, {stage.workflow!r}"
                raise InvalidInputError(field, "is a stage of another workflow", value=before, remedy=remedy)
            if before not in seen:
                _refuse_cycle(stages)
                raise InvalidInputError(
                    field, "stands later", value=before, remedy="list a stage after its predecessors"
                )
        seen.add(stage.name)


def _refuse_cycle(stages: Iterable[Stage]) -> None:
    try:
        graphlib.TopologicalSorter({stage.name: stage.predecessors for stage in stages}).prepare()
    except graphlib.CycleError as error:
        path = " -> ".join(error.args[1])
        raise InvalidInputError("stages", "wait for each other in a cycle", value=path, remedy="break it") from None


def _check_memory(document: InstanceDocument) -> None:
    """Initial residents fit their accelerator and every stage fits some accelerator, on the planner's grid."""
    weights = {model.name: memory_units_up(model.weights_gib) for model in document.models}
    for index, accelerator in enumerate(document.accelerators):
        if sum(weights[name] for name in accelerator.resident) > memory_units_down(accelerator.memory_gib):
            problem = f"are more than the accelerator's {accelerator.memory_gib:g} GiB hold"
            raise InvalidInputError(f"accelerators[{index}].resident", problem, value=accelerator.resident)
    largest_gib = max(accelerator.memory_gib for accelerator in document.accelerators)
    for index, stage in enumerate(document.stages):
        if weights[stage.model] + memory_units_up(stage.kv_gib) > memory_units_down(largest_gib):
            problem = (
                f"fits on no accelerator beside the weights of {stage.model!r}: the largest has {largest_gib:g} GiB"
            )
            remedy = "reserve less KV or add an accelerator"
            raise InvalidInputError(f"stages[{index}].kv_gib", problem, value=stage.kv_gib, remedy=remedy)
