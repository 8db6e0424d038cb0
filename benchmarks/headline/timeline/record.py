"""The record of a simulated run, as the pictures need it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

GIB = float(1 << 30)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that an engine worked on, from ``start_s`` to ``end_s``. ``late``: its workflow did not end in time."""

    accelerator: str
    model: str
    start_s: float
    end_s: float
    late: bool


@dataclass(frozen=True, slots=True)
class Replica:
    """A model on an accelerator at an instant, GiB. ``reserved`` and ``used`` are KV memory in its ``pool``."""

    model: str
    phase: str
    fixed: float
    pool: float
    reserved: float
    used: float


@dataclass(slots=True)
class Record:
    """``memory`` holds, by accelerator, what was there from each instant on, in order."""

    sizes: dict[str, float] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    memory: dict[str, list[tuple[float, tuple[Replica, ...]]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def models(self) -> list[str]:
        """All models that were on an accelerator, by name."""
        return sorted({replica.model for steps in self.memory.values() for _, found in steps for replica in found})

    def at(self, accelerator: str, instants: Iterable[float]) -> list[tuple[Replica, ...]]:
        """What was on an accelerator at each of some instants, which must rise."""
        steps = self.memory[accelerator]
        found, position = [], 0
        for instant in instants:
            while position < len(steps) and steps[position][0] <= instant:
                position += 1
            found.append(steps[position - 1][1] if position else ())
        return found


def read_record(lines: Iterable[str]) -> Record:
    """The record of a run; a workflow that has not ended when the run does counts as late."""
    record = Record()
    attempts = []
    in_time = set()
    for line in lines:
        event = json.loads(line)
        match event["event"]:
            case "accelerator":
                record.sizes[event["name"]] = event["memory_bytes"] / GIB
            case "attempt" if event["accelerator"] and event["start_s"] is not None:
                attempts.append(event)
            case "workflow" if event["state"] == "succeeded" and event["end_s"] <= event["deadline_s"]:
                in_time.add(event["workflow"])
            case "memory":
                record.memory[event["accelerator"]].append((event["at_s"], _replicas(event["replicas"])))
    record.calls = [
        Call(e["accelerator"], e["model"], e["start_s"], e["end_s"], e["workflow"] not in in_time) for e in attempts
    ]
    return record


def _replicas(found: Iterable[dict[str, object]]) -> tuple[Replica, ...]:
    sizes = ("fixed_bytes", "pool_bytes", "reserved_bytes", "used_bytes")
    return tuple(
        Replica(str(each["model"]), str(each["phase"]), *(float(str(each[name])) / GIB for name in sizes))
        for each in found
    )
