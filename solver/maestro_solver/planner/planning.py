"""One call from a snapshot to a plan.

1. The portfolio: the best member is the incumbent, the hint and the fallback.
2. The exact model where it is small enough, in what is left of the limit.
3. The better of the two, judged by one evaluator; every candidate passes the checker first.

A snapshot with a demand gets a plan of its residency alone (:mod:`maestro_solver.planner.residency`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from maestro.plan import Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_solver.bounds import critical_path_bound
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, as_plan, judge, plain_provenance, violations
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.exact import ExactOutcome, ExactRun
from maestro_solver.planner.portfolio import run_portfolio
from maestro_solver.planner.residency import plan_residency
from maestro_solver.schedule import Resident, Schedule

_PORTFOLIO_SHARE = 0.5
"""The part of the limit that the portfolio may take."""

_EQUAL = 1e-6
"""Objectives closer than this are equal."""

Clock = Callable[[], float]
OnIncumbent = Callable[[Plan], None]


def plan(snapshot: Snapshot, config: PlannerConfig, clock: Clock, on_incumbent: OnIncumbent | None = None) -> Plan:
    """The best valid plan found within ``config.limit_s`` seconds of ``clock`` (monotonic).

    Every improvement is handed to ``on_incumbent`` as soon as it is known, so that a caller who ends the call early
    keeps the best so far. Never worse than the best of the portfolio. Raises InvalidInputError where the snapshot
    contradicts itself, and nothing else.
    """
    if snapshot.demand:
        return plan_residency(snapshot, config, clock, on_incumbent or _nobody)
    return _Planning(snapshot, config, clock, on_incumbent).result()


def _nobody(_: Plan) -> None:
    """Incumbents are not wanted."""


@dataclass(frozen=True, slots=True)
class _Best:
    """The incumbent, and how many candidates the checker rejected on the way."""

    candidate: Candidate
    rejected: int


class _Planning:
    """One run of the planner."""

    def __init__(
        self, snapshot: Snapshot, config: PlannerConfig, clock: Clock, on_incumbent: OnIncumbent | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._started_s = clock()
        self._on_incumbent = on_incumbent
        self._instance = discretize(snapshot, Grid.suited(snapshot, config.tick_s), config.horizon_s)

    def result(self) -> Plan:
        """The plan with its provenance."""
        best = self._best_of_portfolio()
        exact = self._exact(best.candidate)
        chosen, fallback = _choose(best, exact)
        return as_plan(self._instance, chosen, self._provenance(chosen, best, exact, fallback))

    def _elapsed_s(self) -> float:
        return self._clock() - self._started_s

    def _best_of_portfolio(self) -> _Best:
        """The best valid member; where the checker rejects all of them, everything is put off."""
        best: Candidate | None = None
        rejected = 0
        for candidate in run_portfolio(self._instance, self._portfolio_is_over):
            if best is not None and candidate.objective >= best.objective - _EQUAL:
                continue
            if violations(self._instance, candidate):
                rejected += 1
                continue
            best = candidate
            self._announce(best)
        return _Best(best or _everything_deferred(self._instance), rejected)

    def _portfolio_is_over(self) -> bool:
        if self._config.deterministic:
            return False
        return self._elapsed_s() >= _PORTFOLIO_SHARE * self._config.limit_s

    def _exact(self, incumbent: Candidate) -> ExactOutcome:
        """The exact model's answer, or why there is none."""
        plannable = sum(stage.obstacle is None for stage in self._instance.stages)
        if plannable == 0:
            return ExactOutcome(None, SolveStatus.UNKNOWN, fallback=Reason.NOTHING_TO_PLAN)
        if plannable > self._config.max_exact_stages:
            return ExactOutcome(None, SolveStatus.UNKNOWN, fallback=Reason.MODEL_TOO_LARGE)
        until_s = self._started_s + self._config.limit_s - self._config.margin_s
        return ExactRun(self._instance, self._config, self._clock, until_s, self._announce).outcome(incumbent)

    def _announce(self, candidate: Candidate) -> None:
        if self._on_incumbent is not None:
            provenance = replace(plain_provenance(self._instance, candidate), total_s=self._elapsed_s())
            self._on_incumbent(as_plan(self._instance, candidate, provenance))

    def _provenance(self, chosen: Candidate, best: _Best, exact: ExactOutcome, fallback: Reason | None) -> Provenance:
        bound = max(critical_path_bound(self._instance), exact.bound if exact.bound is not None else 0.0)
        bound = min(bound, chosen.objective)  # equal but for floating point
        is_optimal = chosen.objective - bound <= _EQUAL * max(1.0, chosen.objective)
        status = exact.status if chosen.source is PlanSource.CP_SAT else SolveStatus.HEURISTIC
        return replace(
            plain_provenance(self._instance, chosen),
            status=SolveStatus.OPTIMAL if is_optimal else status,
            bound=bound,
            gap=(chosen.objective - bound) / max(chosen.objective, _EQUAL),
            build_s=exact.build_s,
            solve_s=exact.solve_s,
            total_s=self._elapsed_s(),
            fallback_reason=fallback,
            portfolio_objective=best.candidate.objective,
            notes=_notes(best, exact),
        )


def _choose(best: _Best, exact: ExactOutcome) -> tuple[Candidate, Reason | None]:
    """The candidate in use, and why it is not the exact model's where it is not."""
    portfolio = best.candidate
    if exact.candidate is None:
        return portfolio, exact.fallback
    if exact.candidate.objective > portfolio.objective + _EQUAL:
        return portfolio, Reason.SOLVER_NOT_BETTER
    return exact.candidate, None


def _notes(best: _Best, exact: ExactOutcome) -> str:
    rejected = f"the checker rejected {best.rejected} candidates of the portfolio" if best.rejected else ""
    return "; ".join(note for note in (rejected, exact.notes) if note)


def _everything_deferred(instance: Instance) -> Candidate:
    """The plan that changes nothing and starts nothing."""
    residents = tuple(
        Resident(found.accelerator, found.model, 0, found.ready, found.busy_until if found.draining else None, position)
        for position, found in enumerate(instance.replicas)
    )
    unplaced = {
        position: stage.obstacle or Reason.DEFERRED_BEYOND_HORIZON for position, stage in enumerate(instance.stages)
    }
    return judge(instance, Schedule({}, {}, residents, unplaced), PlanSource.PORTFOLIO, "everything_deferred")
