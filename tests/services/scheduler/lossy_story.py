"""What a history of the lossy world is made of: what clients submit, and what goes wrong when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service_world import call

from maestro.workflow import ToolStage, WorkflowSpec

FAULTS_END_S = 16.0
"""Faults happen in this time after the beginning; afterwards nothing fails any more."""

FOREVER_S = 1e9


class FaultKind(StrEnum):
    """What can go wrong, beside lost messages."""

    CRASH_NODE = "crash_node"
    CRASH_SCHEDULER = "crash_scheduler"
    KILL_ENGINE = "kill_engine"
    CUT_NODE = "cut_node"
    CUT_SCHEDULER = "cut_scheduler"
    DRAIN_NODE = "drain_node"


@dataclass(frozen=True)
class Fault:
    """Something goes wrong at an instant (seconds after the beginning), for a while; ``which`` picks whom it hits.

    A node may crash for ``FOREVER_S``; everything else is well again at the latest when faults end.
    """

    at_s: float
    kind: FaultKind
    which: int
    for_s: float


@dataclass(frozen=True)
class Submission:
    """A client submits a workflow of a shape, and perhaps gives it up after a while."""

    at_s: float
    shape: str
    cancel_after_s: float | None


@dataclass(frozen=True)
class Story:
    """One history of the world. The seed decides over each message; ``loss`` and ``faulty`` are shares."""

    seed: int
    loss: float
    faulty: float
    submissions: tuple[Submission, ...]
    faults: tuple[Fault, ...]


SHAPES: dict[str, WorkflowSpec] = {
    "single": WorkflowSpec("essays", (call("only"),)),
    "either": WorkflowSpec("essays", (call("only", models=("judge", "critic")),), priority=20),
    "chain": WorkflowSpec("essays", (call("a"), call("b", "a", models=("critic",)), call("c", "b", models=("judge",)))),
    "wide": WorkflowSpec(
        "reports",
        (
            *(call(f"part{i}", models=("writer", "critic")) for i in range(4)),
            call("sum", *(f"part{i}" for i in range(4))),
        ),
    ),
    "tools": WorkflowSpec(
        "agents",
        (
            call("plan", models=("judge",)),
            ToolStage("wait", "sleep", ("plan",), duration_s=0.7),
            ToolStage("search", "search", ("plan",)),
            call("answer", "wait", "search", models=("critic",)),
        ),
    ),
}
