"""What is told about a plan: its quality, what it does, and whether the checker passes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maestro.plan import Plan, PlanSource, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_solver.check import check


@dataclass(frozen=True, slots=True)
class PlanReport:
    """A plan in figures.

    ``terms`` are the weighted parts of ``objective``; ``bound``, ``gap``, ``source``, ``status`` and
    ``fallback_reason`` as in :class:`maestro.plan.Provenance`; ``gain_shares`` is what each part of the planner has of
    the whole gain over the portfolio; ``portfolio_objective`` is the best heuristic's of the
    same run. ``seconds`` are those of building the exact model, solving it, and the whole call. ``stages`` counts
    planned and deferred ones; ``swaps`` the loads that the plan begins. ``on_time`` is the share of the workflows'
    weight that meets its deadline, deferred stages at their estimated ends; None where lateness costs nothing.
    ``checked`` says that the checker passes the plan; ``violations`` are what it finds otherwise.
    """

    policy: str
    objective: float
    terms: Mapping[str, float]
    bound: float | None
    gap: float | None
    status: SolveStatus
    source: PlanSource
    member: str
    fallback_reason: Reason | None
    portfolio_objective: float | None
    seconds: Mapping[str, float]
    stages: Mapping[str, int]
    swaps: int
    on_time: float | None
    checked: bool
    violations: tuple[str, ...]
    notes: str
    gain_shares: Mapping[str, float]


def report_on(snapshot: Snapshot, plan: Plan, policy: str) -> PlanReport:
    """What there is to tell about the plan that ``policy`` made for the snapshot."""
    provenance = plan.provenance
    broken = check(snapshot, plan)
    return PlanReport(
        policy=policy,
        objective=provenance.objective,
        terms=provenance.terms,
        bound=provenance.bound,
        gap=provenance.gap,
        status=provenance.status,
        source=provenance.source,
        member=provenance.policy,
        fallback_reason=provenance.fallback_reason,
        portfolio_objective=provenance.portfolio_objective,
        seconds={"build": provenance.build_s, "solve": provenance.solve_s, "total": provenance.total_s},
        stages={"planned": len(snapshot.waiting) - len(plan.deferred), "deferred": len(plan.deferred)},
        swaps=sum(not residency.initial for residency in plan.residencies),
        on_time=_on_time(snapshot, provenance.terms),
        checked=not broken,
        violations=tuple(map(str, broken)),
        notes=provenance.notes,
        gain_shares=_shares(provenance.gains),
    )


def _shares(gains: Mapping[str, float]) -> dict[str, float]:
    """Each part's share of the whole; empty where nothing was gained."""
    whole = sum(gains.values())
    return {part: gain / whole for part, gain in gains.items()} if whole > 0 else {}


def _on_time(snapshot: Snapshot, terms: Mapping[str, float]) -> float | None:
    """The share of weight that is not late, from what lateness costs."""
    at_stake = snapshot.weights.late * sum(workflow.weight for workflow in snapshot.workflows)
    if "late" not in terms or at_stake <= 0:
        return None
    return 1.0 - terms["late"] / at_stake
