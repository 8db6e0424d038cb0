"""What the host and the solver's process say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.plan import Plan
from maestro.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has imported and warmed up all it needs."""


@dataclass(frozen=True, slots=True)
class Request:
    """Plan this snapshot."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best plan so far for the request under way."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Answer:
    """The final plan of a request."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Raised:
    """The planner raised; ``error`` is its text."""

    snapshot_version: int
    error: str


FromSolver = Ready | Incumbent | Answer | Raised
