"""One call from a snapshot to a plan.

1. The plan in force, shifted to now, and the portfolio: the best is the incumbent, the hint and the fallback.
2. The key search from the portfolio's best order; where workflows were tied to clusters, exchange between these first.
3. Where they fit what is left of the limit: the exact model, or large neighbourhoods around the incumbent.

Every candidate is judged by one evaluator and passes the checker before it becomes the incumbent. A snapshot with a
demand gets a plan of its residency alone (:mod:`maestro_solver.planner.residency`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from operator import itemgetter

from maestro.plan import Deferral, Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, as_plan, judge, plain_provenance
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.exact import ExactOutcome, ExactRun
from maestro_solver.planner.exchange import EXCHANGE, open_clusters, starts_in
from maestro_solver.planner.improving import KeyImprovement
from maestro_solver.planner.incumbent import PORTFOLIO, Incumbent
from maestro_solver.planner.neighbouring import NeighbourhoodSearch
from maestro_solver.planner.portfolio import Portfolio, Start
from maestro_solver.planner.residency import plan_residency
from maestro_solver.planner.selection import select
from maestro_solver.planner.warm_start import warm_start
from maestro_solver.schedule import Resident, Schedule
from maestro_solver.search.bounds import Bound
from maestro_solver.search.layout import lay_out
from maestro_solver.stage_options import Ties

_PORTFOLIO_SHARE = 0.3
"""The part of the limit that the portfolio may take."""

_KEYS_BEFORE_EXACT_SHARE = 0.65
"""When the exact model begins: the better the incumbent, the less there is to exclude."""

_KEYS_SHARE = 0.8
"""The same before large neighbourhoods, which gain less than the key search where workflows contend."""

_EXACT_SHARE = 0.93
"""By when the exact model has to be through: the solver overruns its limit where the machine is busy."""

_BUILD_S_PER_OPTION = 3e-4
"""Seconds that building the exact model takes for each way to run a stage; on the slow side."""

_LEAST_STEPS = 3
"""Large neighbourhoods are searched where there is time for so many."""

_EXCHANGE_READINGS = 1.0
"""Exchange begins where so many times as long is left as the snapshot took to be read and laid out."""

_SEARCH_PLACES = 4.0
"""What is placed anew is searched from where there is so many times as long, for each worker, as placing it took."""

_OFFER_CHECKS = 3.0
"""Making, judging and checking a candidate takes about so many times as long as checking it."""

_EXACT = "exact"

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
    with _without_collection():
        return _Planning(snapshot, config, clock, on_incumbent).result()


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for circular garbage meanwhile: it takes half the time of reading a large snapshot."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _nobody(_: Plan) -> None:
    """Incumbents are not wanted."""


class _Planning:
    """One run of the planner."""

    def __init__(
        self, snapshot: Snapshot, config: PlannerConfig, clock: Clock, on_incumbent: OnIncumbent | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._started_s = clock()
        self._on_incumbent = on_incumbent
        limit_s = float("inf") if config.deterministic else config.limit_s
        self._selection = select(snapshot, limit_s)
        grid, ties = Grid.suited(snapshot, config.tick_s), Ties(self._selection.cluster_of)
        self._instance = discretize(self._selection.snapshot, grid, config.horizon_s, ties)
        self._layout = lay_out(self._instance)
        self._reading_s = clock() - self._started_s
        self._incumbent = Incumbent(self._instance, self._announce)
        self._portfolio = Portfolio(self._instance, self._layout)
        self._offer_s = 0.0
        self._bound = Bound(self._instance, self._layout, tied=bool(self._selection.cluster_of))

    def result(self) -> Plan:
        """The plan with its provenance."""
        self._run_portfolio()
        self._bound.tighten(float("inf") if self._config.deterministic else self._until_s(1.0) - self._clock())
        best = self._incumbent.best or _everything_deferred(self._instance)
        plannable = sum(stage.obstacle is None for stage in self._instance.stages)
        if plannable == 0:
            exact = ExactOutcome(None, SolveStatus.UNKNOWN, fallback=Reason.NOTHING_TO_PLAN)
        elif plannable > self._config.max_exact_stages or not self._has_time_for_exact():
            self._search_widely()
            too_large = plannable > self._config.max_exact_stages
            reason = Reason.MODEL_TOO_LARGE if too_large else Reason.SOLVER_TIMED_OUT
            exact = ExactOutcome(None, SolveStatus.UNKNOWN, fallback=reason)
        else:
            self._search_keys(_KEYS_BEFORE_EXACT_SHARE)
            exact = self._exact(self._incumbent.best or best)
        chosen, fallback = _choose(self._incumbent.best or best, exact)
        self._bound.wait(self._started_s + self._config.limit_s - self._config.margin_s - self._clock())
        return self._plan(chosen, self._provenance(chosen, exact, fallback))

    def _elapsed_s(self) -> float:
        return self._clock() - self._started_s

    def _until_s(self, share: float) -> float:
        """The instant at which a part of the planner has to be through that may take until a share of the limit."""
        end_s = self._started_s + self._config.limit_s - self._config.margin_s - self._offer_s
        return min(end_s, self._started_s + share * self._config.limit_s)

    def _run_portfolio(self) -> None:
        """Offer the best of each; where the checker rejects all of them, everything is put off.

        The plan in force goes first, so that it stays where nothing is better.
        """
        left_s = float("inf") if self._config.deterministic else _PORTFOLIO_SHARE * self._config.limit_s
        for candidate in chain(warm_start(self._instance), self._portfolio.run(self._portfolio_is_over, left_s)):
            begun_s = self._clock()
            self._incumbent.offer(candidate, PORTFOLIO)
            self._offer_s = max(self._offer_s, _OFFER_CHECKS * (self._clock() - begun_s))

    def _portfolio_is_over(self) -> bool:
        if self._config.deterministic:
            return False
        return self._elapsed_s() >= _PORTFOLIO_SHARE * self._config.limit_s

    def _search_keys(self, share: float) -> None:
        """The key search until a share of the limit, where there is a layout and an order to start from."""
        start, until_s = self._portfolio.start, self._until_s(share)
        if self._layout is None or start is None or self._is_optimal(self._incumbent.best):
            return
        if self._config.deterministic or self._clock() < until_s:
            improvement = KeyImprovement(self._layout, self._config, self._clock, self._incumbent, self._offer_s)
            improvement.run(start, until_s)

    def _exchange(self) -> bool:
        """Let workflows go to other clusters, and search keys from there; whether there was time for that."""
        best, until_s = self._incumbent.best, self._until_s(1.0)
        if best is None or self._clock() + _EXCHANGE_READINGS * self._reading_s > until_s:
            return False
        layout = open_clusters(self._instance, best)
        if layout is None:
            return False
        improvement = KeyImprovement(layout, self._config, self._clock, self._incumbent, self._offer_s)
        placed: list[tuple[float, Start]] = []
        took_s = 0.0
        for start in starts_in(layout, best):
            begun_s = self._clock()
            if placed and begun_s + took_s > until_s:
                break
            placed.append((improvement.place(start, EXCHANGE), start))
            took_s = self._clock() - begun_s
        if self._clock() + _SEARCH_PLACES * self._config.workers * took_s < until_s:
            improvement.run(min(placed, key=itemgetter(0))[1], until_s)
        return True

    def _search_widely(self) -> None:
        """Keys, then large neighbourhoods where there is time for some; deterministic runs leave these out.

        Where workflows are tied to clusters they are let go, where there is time for that.
        """
        is_tied = bool(self._selection.cluster_of)
        if self._layout is None or self._config.deterministic or is_tied:
            if not is_tied or not self._exchange():
                self._search_keys(1.0)
            return
        neighbourhoods = NeighbourhoodSearch(self._layout, self._config, self._clock, self._incumbent)
        is_worth_it = neighbourhoods.steps_in((1.0 - _KEYS_SHARE) * self._config.limit_s) >= _LEAST_STEPS
        self._search_keys(_KEYS_SHARE if is_worth_it else 1.0)
        if is_worth_it and not self._is_optimal(self._incumbent.best):
            neighbourhoods.run(self._until_s(1.0))

    def _has_time_for_exact(self) -> bool:
        """Whether the exact model would be built in half of what it is given of the limit."""
        options = sum(len(stage.options) for stage in self._instance.stages)
        given_s = (1.0 - _KEYS_BEFORE_EXACT_SHARE) * self._config.limit_s
        return self._config.deterministic or options * _BUILD_S_PER_OPTION < 0.5 * given_s

    def _exact(self, incumbent: Candidate) -> ExactOutcome:
        """The exact model's answer, or why there is none."""
        until_s = min(self._until_s(1.0), self._started_s + _EXACT_SHARE * self._config.limit_s)
        return ExactRun(self._instance, self._config, self._clock, until_s, self._offer_exact).outcome(incumbent)

    def _offer_exact(self, candidate: Candidate) -> None:
        self._incumbent.offer(candidate, _EXACT)

    def _is_optimal(self, candidate: Candidate | None) -> bool:
        return candidate is not None and candidate.objective <= self._bound.value + _EQUAL

    def _announce(self, candidate: Candidate) -> None:
        if self._on_incumbent is not None:
            provenance = replace(plain_provenance(self._instance, candidate), total_s=self._elapsed_s())
            self._on_incumbent(self._plan(candidate, provenance))

    def _plan(self, candidate: Candidate, provenance: Provenance) -> Plan:
        """The candidate's plan, in which all that was left out is put off."""
        plan = as_plan(self._instance, candidate, provenance)
        left_out = tuple(Deferral(key, Reason.DEFERRED_BEYOND_HORIZON) for key in self._selection.left_out)
        return replace(plan, deferred=plan.deferred + left_out)

    def _provenance(self, chosen: Candidate, exact: ExactOutcome, fallback: Reason | None) -> Provenance:
        bound = max(self._bound.value, exact.bound if exact.bound is not None else 0.0)
        bound = min(bound, chosen.objective)  # equal but for floating point
        is_optimal = chosen.objective - bound <= _EQUAL * max(1.0, chosen.objective)
        status = exact.status if chosen.source is PlanSource.CP_SAT else SolveStatus.HEURISTIC
        portfolio_objective = self._incumbent.portfolio_objective
        return replace(
            plain_provenance(self._instance, chosen),
            status=SolveStatus.OPTIMAL if is_optimal else status,
            bound=bound,
            gap=(chosen.objective - bound) / max(chosen.objective, _EQUAL),
            build_s=exact.build_s,
            solve_s=exact.solve_s,
            total_s=self._elapsed_s(),
            fallback_reason=fallback,
            portfolio_objective=chosen.objective if portfolio_objective is None else portfolio_objective,
            notes=_notes(self._incumbent.rejected, len(self._selection.left_out), exact),
            gains=self._incumbent.gains,
        )


def _choose(best: Candidate, exact: ExactOutcome) -> tuple[Candidate, Reason | None]:
    """The candidate in use, and why it is not the exact model's where it is not."""
    if exact.candidate is not None and exact.candidate.objective <= best.objective + _EQUAL:
        return exact.candidate, None
    if exact.candidate is not None:
        return best, Reason.SOLVER_NOT_BETTER
    is_improved = best.source is not PlanSource.PORTFOLIO and exact.fallback is Reason.MODEL_TOO_LARGE
    return best, None if is_improved else exact.fallback


def _notes(rejected: int, left_out: int, exact: ExactOutcome) -> str:
    told = f"the checker rejected {rejected} candidates" if rejected else ""
    rest = f"{left_out} stages were left out for want of time: the objective leaves them out, too" if left_out else ""
    return "; ".join(note for note in (told, rest, exact.notes) if note)


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
