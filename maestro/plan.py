"""A plan: who runs where, in what order, which models stay resident, and how good the plan is.

Times are seconds relative to the snapshot the plan was made for (``Snapshot.taken_at_s``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from maestro.reasons import Reason
from maestro.snapshot import StageKey


class PlanSource(StrEnum):
    """Which part of the planner made the decisions."""

    CP_SAT = "cp_sat"
    IMPROVED = "improved"
    PORTFOLIO = "portfolio"
    INCREMENTAL = "incremental"


class SolveStatus(StrEnum):
    """What is known of the solution's quality. UNKNOWN says no solution was found in time, never 'infeasible'."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    HEURISTIC = "heuristic"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A stage runs on ``accelerator`` as ``model`` from ``start_s`` to ``end_s`` with ``kv_bytes`` reserved."""

    stage: StageKey
    accelerator: str
    model: str
    start_s: float
    end_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class Residency:
    """``model`` holds device memory on ``accelerator`` from ``load_start_s`` and serves from ``ready_s`` to ``end_s``.

    ``initial``: it was resident (or loading) when the snapshot was taken; then ``load_start_s`` is 0.
    ``end_s`` None: it stays. ``kv_pool_bytes`` is its fixed pool, 0 where KV is elastic.
    """

    accelerator: str
    model: str
    load_start_s: float
    ready_s: float
    end_s: float | None
    initial: bool
    kv_pool_bytes: int


@dataclass(frozen=True, slots=True)
class Deferral:
    """A stage the plan does not start within its horizon, and why."""

    stage: StageKey
    reason: Reason


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a plan came from and how good it is.

    ``terms`` are the weighted parts of ``objective``. ``gains`` is by how much each part of the planner lowered the
    objective below the best of the portfolio. ``bound`` is a proven lower bound on the objective of any plan
    for the snapshot (None where none was computed) and ``gap`` the relative distance to it. ``fallback_reason`` says
    why the solver's answer is not the one in use.
    """

    snapshot_version: int
    source: PlanSource
    status: SolveStatus
    objective: float
    terms: Mapping[str, float]
    bound: float | None = None
    gap: float | None = None
    build_s: float = 0.0
    solve_s: float = 0.0
    total_s: float = 0.0
    fallback_reason: Reason | None = None
    policy: str = ""
    portfolio_objective: float | None = None
    notes: str = ""
    gains: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions for one horizon. ``assignments`` are sorted by start, then stage."""

    taken_at_s: float
    horizon_s: float
    assignments: tuple[Assignment, ...]
    residencies: tuple[Residency, ...]
    deferred: tuple[Deferral, ...]
    provenance: Provenance
