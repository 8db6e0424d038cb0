"""An independent checker that names the rules of the format that a plan breaks.

It reads the two documents, never the planner's own data, and shares no code with the list scheduler or the models.
Times and memory are compared in the format's own tolerances. Every finding has a name from ``Rule``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from maestro_solver.core_instance.document import Accelerator, InstanceDocument, Stage

_TIME_TOLERANCE_S: Final = 1e-6
_GRID_TOLERANCE_TICKS: Final = 1e-4
_MEMORY_TOLERANCE_GIB: Final = 1e-4


class Rule(StrEnum):
    """What a plan can break."""

    UNKNOWN_NAME = "unknown name"
    NOT_FINITE = "not finite"
    PLACED_ONCE = "every stage placed once"
    NOT_BEFORE_NOW = "nothing before now"
    ON_GRID = "starts on the grid"
    PRECEDENCE = "after predecessors"
    MODEL_READY = "model ready"
    INITIAL_RESIDENCY = "initial residency"
    RESIDENCY_ENDS_READY = "residency ends once ready"
    RESIDENCIES_APART = "residencies of a model apart"
    LOADS_APART = "loads apart"
    MEMORY = "memory"
    SLOTS = "slots"


@dataclass(frozen=True)
class Violation:
    """One broken rule: which, and where."""

    rule: Rule
    detail: str


@dataclass(frozen=True)
class _Placed:
    stage: Stage
    accelerator: str
    start_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.stage.duration_s


@dataclass(frozen=True)
class _Residency:
    model: str
    accelerator: str
    begin_s: float
    ready_s: float
    end_s: float
    initial: bool


def violations(document: InstanceDocument, plan: Mapping[str, Any]) -> list[Violation]:
    """Every rule that the plan document breaks, with the place; empty for a valid plan.

    A plan with unknown names or numbers that are not finite is checked no further.
    """
    if unreadable := list(_unreadable(document, plan)):
        return unreadable
    placed = _placed(document, plan)
    rows = _residencies(document, plan)
    cluster = {accelerator.name: accelerator.cluster for accelerator in document.accelerators}
    found = list(_placement(document, plan["assignments"]))
    for entry in placed.values():
        found += _timing(document, entry)
        found += _precedence(document, entry, placed, cluster)
        found += _readiness(entry, rows[entry.accelerator])
    stages_on: dict[str, list[_Placed]] = defaultdict(list)
    for entry in placed.values():
        stages_on[entry.accelerator].append(entry)
    for accelerator in document.accelerators:
        found += _residency(accelerator, rows[accelerator.name])
        found += _capacity(document, accelerator, stages_on[accelerator.name], rows[accelerator.name])
    return found


def _unreadable(document: InstanceDocument, plan: Mapping[str, Any]) -> Iterator[Violation]:
    accelerators = {accelerator.name for accelerator in document.accelerators}
    known = {
        "stage": {stage.name for stage in document.stages},
        "model": {model.name for model in document.models},
        "accelerator": accelerators,
    }
    for row in [*plan["assignments"], *plan["residency"]]:
        for key, value in row.items():
            if key in known and value not in known[key]:
                yield Violation(Rule.UNKNOWN_NAME, f"{key} {value!r}")
            if key in ("start_s", "load_start_s", "end_s") and value is not None and not math.isfinite(value):
                yield Violation(Rule.NOT_FINITE, f"{key} {value!r} in {row}")


def _placed(document: InstanceDocument, plan: Mapping[str, Any]) -> dict[str, _Placed]:
    stages = {stage.name: stage for stage in document.stages}
    return {
        row["stage"]: _Placed(stages[row["stage"]], row["accelerator"], row["start_s"]) for row in plan["assignments"]
    }


def _residencies(document: InstanceDocument, plan: Mapping[str, Any]) -> Mapping[str, list[_Residency]]:
    load_s = {model.name: model.weights_gib / document.load_gib_per_s for model in document.models}
    rows: dict[str, list[_Residency]] = {accelerator.name: [] for accelerator in document.accelerators}
    for row in plan["residency"]:
        begin_s, initial = row["load_start_s"], bool(row["initial"])
        ready_s = begin_s + (0.0 if initial else load_s[row["model"]])
        end_s = math.inf if row["end_s"] is None else row["end_s"]
        residency = _Residency(row["model"], row["accelerator"], begin_s, ready_s, end_s, initial)
        rows[residency.accelerator].append(residency)
    return rows


def _placement(document: InstanceDocument, assignments: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
    times: dict[str, int] = defaultdict(int)
    for row in assignments:
        times[row["stage"]] += 1
    for stage in document.stages:
        if times[stage.name] != 1:
            yield Violation(Rule.PLACED_ONCE, f"stage {stage.name} is placed {times[stage.name]} times")


def _timing(document: InstanceDocument, entry: _Placed) -> Iterator[Violation]:
    name, start_s = entry.stage.name, entry.start_s
    if start_s < -_TIME_TOLERANCE_S:
        yield Violation(Rule.NOT_BEFORE_NOW, f"stage {name} starts at {start_s}")
    ticks = start_s / document.tick_s
    if abs(ticks - round(ticks)) > _GRID_TOLERANCE_TICKS:
        yield Violation(Rule.ON_GRID, f"stage {name} starts at {start_s}")


def _precedence(
    document: InstanceDocument, entry: _Placed, placed: Mapping[str, _Placed], cluster: Mapping[str, str]
) -> Iterator[Violation]:
    for before in (placed[name] for name in entry.stage.predecessors if name in placed):
        far = cluster[before.accelerator] != cluster[entry.accelerator]
        arrived_s = before.end_s + (document.network_delay_s if far else 0.0)
        if entry.start_s < arrived_s - _TIME_TOLERANCE_S:
            detail = (
                f"stage {entry.stage.name} starts at {entry.start_s}, {before.stage.name} has arrived at {arrived_s}"
            )
            yield Violation(Rule.PRECEDENCE, detail)


def _readiness(entry: _Placed, rows: Iterable[_Residency]) -> Iterator[Violation]:
    for row in rows:
        inside = row.ready_s <= entry.start_s + _TIME_TOLERANCE_S and entry.end_s <= row.end_s + _TIME_TOLERANCE_S
        if inside and row.model == entry.stage.model:
            return
    detail = f"stage {entry.stage.name} runs from {entry.start_s} on {entry.accelerator} without {entry.stage.model}"
    yield Violation(Rule.MODEL_READY, detail)


def _residency(accelerator: Accelerator, rows: Sequence[_Residency]) -> Iterator[Violation]:
    initial = [row.model for row in rows if row.initial]
    if sorted(initial) != sorted(accelerator.resident) or any(row.initial and row.begin_s != 0 for row in rows):
        detail = f"{accelerator.name} holds {accelerator.resident} at 0, the plan says {initial}"
        yield Violation(Rule.INITIAL_RESIDENCY, detail)
    for row in rows:
        if row.begin_s < -_TIME_TOLERANCE_S:
            yield Violation(Rule.NOT_BEFORE_NOW, f"{row.model} on {accelerator.name} from {row.begin_s}")
        if row.end_s < row.ready_s - _TIME_TOLERANCE_S:
            yield Violation(Rule.RESIDENCY_ENDS_READY, f"{row.model} on {accelerator.name} ends at {row.end_s}")
    for model in sorted({row.model for row in rows}):
        if _overlap((row.begin_s, row.end_s) for row in rows if row.model == model):
            yield Violation(Rule.RESIDENCIES_APART, f"{model} on {accelerator.name}")
    if _overlap((row.begin_s, row.ready_s) for row in rows if not row.initial):
        yield Violation(Rule.LOADS_APART, f"on {accelerator.name}")


def _overlap(spans: Iterable[tuple[float, float]]) -> bool:
    return any(after[0] < before[1] - _TIME_TOLERANCE_S for before, after in pairwise(sorted(spans)))


def _capacity(
    document: InstanceDocument, accelerator: Accelerator, here: Sequence[_Placed], rows: Sequence[_Residency]
) -> Iterator[Violation]:
    """Memory and slots whenever a stage or a residency begins: in between, use only falls."""
    weights = {model.name: model.weights_gib for model in document.models}
    changes = [
        *((entry.start_s, entry.end_s, entry.stage.kv_gib, 1) for entry in here),
        *((row.begin_s, row.end_s, weights[row.model], 0) for row in rows),
    ]
    begins = sorted(changes, key=lambda change: change[0])
    ends = sorted(changes, key=lambda change: change[1])
    begun, ended, held_gib, running = 0, 0, 0.0, 0
    for now_s in sorted({change[0] for change in changes}):
        while begun < len(begins) and begins[begun][0] <= now_s + _TIME_TOLERANCE_S:
            held_gib, running = held_gib + begins[begun][2], running + begins[begun][3]
            begun += 1
        while ended < len(ends) and ends[ended][1] <= now_s + _TIME_TOLERANCE_S:
            held_gib, running = held_gib - ends[ended][2], running - ends[ended][3]
            ended += 1
        if held_gib > accelerator.memory_gib + _MEMORY_TOLERANCE_GIB:
            detail = f"{accelerator.name} at {now_s}: {held_gib:.3f} of {accelerator.memory_gib} GiB"
            yield Violation(Rule.MEMORY, detail)
        if running > accelerator.slots:
            yield Violation(Rule.SLOTS, f"{accelerator.name} at {now_s}: {running} of {accelerator.slots}")
