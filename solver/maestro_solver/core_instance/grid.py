"""From an instance document to the problem on the integer grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from maestro_solver.core_instance.document import InstanceDocument
from maestro_solver.core_instance.problem import (
    CoreProblem,
    Integers,
    ObjectiveWeights,
    memory_units_down,
    memory_units_up,
)

_SLACK_S: Final = 5e-7
"""Half the format's tolerance: a binary fraction that should lie on the grid is not rounded to the next tick."""


def problem_from_document(document: InstanceDocument) -> CoreProblem:
    """The problem that a validated document describes."""
    model_of = _positions(model.name for model in document.models)
    workflow_of = _positions(workflow.name for workflow in document.workflows)
    stage_of = _positions(stage.name for stage in document.stages)
    cluster_of = _positions(dict.fromkeys(accelerator.cluster for accelerator in document.accelerators))
    predecessors = [sorted({stage_of[name] for name in stage.predecessors}) for stage in document.stages]
    successors = _inverted(predecessors, len(stage_of))
    stage_workflow = [workflow_of[stage.workflow] for stage in document.stages]
    durations = [max(1, _ticks_up(stage.duration_s, document.tick_s)) for stage in document.stages]
    load_s = [model.weights_gib / document.load_gib_per_s for model in document.models]
    predecessor_offsets, predecessor_values = _rows(predecessors)
    successor_offsets, successor_values = _rows(successors)
    workflow_offsets, workflow_stages = _rows(_inverted([[workflow] for workflow in stage_workflow], len(workflow_of)))
    resident = np.zeros((len(document.accelerators), len(model_of)), dtype=np.bool_)
    for index, accelerator in enumerate(document.accelerators):
        resident[index, [model_of[name] for name in accelerator.resident]] = True
    return CoreProblem(
        stage_names=tuple(stage_of),
        workflow_names=tuple(workflow_of),
        model_names=tuple(model_of),
        accelerator_names=tuple(accelerator.name for accelerator in document.accelerators),
        tick_s=document.tick_s,
        network_delay=_ticks_up(document.network_delay_s, document.tick_s),
        stage_workflow=_integers(stage_workflow),
        stage_model=_integers(model_of[stage.model] for stage in document.stages),
        stage_duration=_integers(durations),
        stage_duration_s=np.array([stage.duration_s for stage in document.stages], dtype=np.float64),
        stage_kv=_integers(memory_units_up(stage.kv_gib) for stage in document.stages),
        stage_tail=_tails(durations, successors),
        predecessor_offsets=predecessor_offsets,
        predecessors=predecessor_values,
        successor_offsets=successor_offsets,
        successors=successor_values,
        accelerator_cluster=_integers(cluster_of[accelerator.cluster] for accelerator in document.accelerators),
        accelerator_memory=_integers(
            memory_units_down(accelerator.memory_gib) for accelerator in document.accelerators
        ),
        accelerator_slots=_integers(accelerator.slots for accelerator in document.accelerators),
        initially_resident=resident,
        model_weights=_integers(memory_units_up(model.weights_gib) for model in document.models),
        model_load=_integers(_ticks_up(seconds, document.tick_s) for seconds in load_s),
        model_load_s=np.array(load_s, dtype=np.float64),
        workflow_deadline=_integers(
            _ticks_down(workflow.deadline_s, document.tick_s) for workflow in document.workflows
        ),
        workflow_deadline_s=np.array([workflow.deadline_s for workflow in document.workflows], dtype=np.float64),
        workflow_weight=np.array([workflow.weight for workflow in document.workflows], dtype=np.float64),
        workflow_stage_offsets=workflow_offsets,
        workflow_stages=workflow_stages,
        objective=ObjectiveWeights(**document.weights.model_dump()),
    )


def _positions(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, dtype=np.int64)


def _ticks_up(seconds: float, tick_s: float) -> int:
    return math.ceil((seconds - _SLACK_S) / tick_s)


def _ticks_down(seconds: float, tick_s: float) -> int:
    return math.floor((seconds + _SLACK_S) / tick_s)


def _inverted(rows: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """For each value below ``count``, the rows that hold it."""
    inverse: list[list[int]] = [[] for _ in range(count)]
    for index, row in enumerate(rows):
        for value in row:
            inverse[value].append(index)
    return inverse


def _rows(lists: Sequence[Sequence[int]]) -> tuple[Integers, Integers]:
    """Compressed sparse rows: offsets and values."""
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in lists], out=offsets[1:])
    return offsets, _integers(value for row in lists for value in row)


def _tails(durations: Sequence[int], successors: Sequence[Sequence[int]]) -> Integers:
    tail = [0] * len(durations)
    for stage in reversed(range(len(durations))):  # successors stand later
        tail[stage] = durations[stage] + max((tail[after] for after in successors[stage]), default=0)
    return _integers(tail)
