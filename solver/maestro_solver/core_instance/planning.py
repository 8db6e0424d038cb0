"""The planner of core instances: all parts, one after another or side by side, inside one wall-clock limit.

Portfolio; the exact model where the instance is tiny; key search; then neighbourhoods, beside the exact model where
the instance is small. The bound is computed meanwhile. Whatever a part does, the answer is in time: the parts run in
threads that are not waited for beyond the limit, and the incumbent is closed then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Final

from maestro_solver.core_instance.bounds.lower_bound import critical_path_bound, lower_bound
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.model import SolverLimits
from maestro_solver.core_instance.exact.proof import MOST_STAGES, PROVEN, prove
from maestro_solver.core_instance.exact.stopping import Stopper
from maestro_solver.core_instance.incumbent import Incumbent
from maestro_solver.core_instance.neighbourhood.search import NeighbourhoodSearch
from maestro_solver.core_instance.portfolio import Portfolio, run_portfolio
from maestro_solver.core_instance.problem import CoreProblem, cost
from maestro_solver.core_instance.result import InstanceConfig, InstanceResult, PlanStatus
from maestro_solver.core_instance.shop import plan_of
from maestro_solver.shop.energy import QUICK, THOROUGH
from maestro_solver.shop.search import Budget, KeySearch

KEY_SEARCH: Final = "key_search"
EXACT: Final = "exact"
NEIGHBOURHOOD: Final = "neighbourhood:"
"""Stands before the neighbourhood's name."""


TINY_STAGES: Final = 40
"""Up to here the exact model comes first: it is usually proven before a search gets warm."""

_KEY_SHARE: Final = 0.9
"""Share of the limit for key search, which gains most where workflows contend."""

_SMALL_KEY_SHARE: Final = 0.3
"""The same where the exact model and large neighbourhoods gain more."""

_BEFORE_PROOF_SHARE: Final = 0.4
"""When the proof of a small instance begins: the better the incumbent, the less there is to exclude."""

_TINY_SHARE: Final = 0.4
_POLL_S: Final = 0.02
_DECODES_AHEAD: Final = 2.0
"""How many times as long as a decode of the whole has taken must be left to begin another."""

_THOROUGH_S: Final = 4.0
"""From here on the tighter bound takes little of the time from the searches."""


def plan_instance(problem: CoreProblem, config: InstanceConfig, clock: Callable[[], float]) -> InstanceResult:
    """The best plan found before ``config.limit_s`` seconds of ``clock`` have passed; never worse than the portfolio's.

    With ``config.decodes`` the answer depends on the seed and not on the clock. Either ends early once the plan is
    known to be optimal.
    """
    return _Run(problem, config, clock).plan()


class _Run:
    """One run of the planner: its parts share the incumbent, the bound and the limit."""

    def __init__(self, problem: CoreProblem, config: InstanceConfig, clock: Callable[[], float]) -> None:
        self._problem = problem
        self._config = config
        self._clock = clock
        self._began_s = clock()
        self._stop_at_s = self._began_s + config.limit_s
        self._bound = critical_path_bound(problem)
        self._stopper = Stopper()
        self._bound_lock = threading.Lock()
        self._failure: str | None = None
        self._moves = 0
        self._decode_s = 0.0
        self._portfolio = self._best_rules()
        best = self._portfolio.best
        self._incumbent = Incumbent(best.plan, best.objective, best.rule)

    def plan(self) -> InstanceResult:
        """Run the parts and say what came of them."""
        if self._config.decodes is not None:
            self._plan_by_steps(self._config.decodes)
        else:
            self._plan_by_clock()
        self._incumbent.close()
        self._stopper.stop()
        terms = cost(self._problem, self._incumbent.plan)
        return InstanceResult(
            plan=self._incumbent.plan,
            terms=terms,
            bound=min(self._bound, terms.objective),
            source=self._incumbent.source,
            status=PlanStatus.OPTIMAL if self._is_proven() else PlanStatus.FEASIBLE,
            fallback_reason=self._failure,
            gains=self._incumbent.gains,
            portfolio=self._portfolio.objectives,
            decodes=self._moves,
        )

    def _plan_by_clock(self) -> None:
        bound = self._start(self._relax)
        if self._problem.stages <= TINY_STAGES:
            stop_at_s = self._share_until(_TINY_SHARE)
            self._together([partial(self._prove, stop_at_s, self._config.workers)], stop_at_s)
        is_small = self._problem.stages <= MOST_STAGES
        self._search_keys(self._share_until(_SMALL_KEY_SHARE if is_small else _KEY_SHARE))
        can_prove = is_small and self._config.workers > 1
        if can_prove:
            self._improve(self._config.workers, self._share_until(_BEFORE_PROOF_SHARE))
        parts = [partial(self._prove, self._stop_at_s, 1, proving=True)] if can_prove else []
        self._improve(self._config.workers - len(parts), self._stop_at_s, *parts)
        bound.join(max(0.0, self._left_s()))

    def _improve(self, workers: int, stop_at_s: float, *beside: Callable[[], None]) -> None:
        """Search neighbourhoods with that many workers, beside other parts."""
        searches = [partial(self._search_neighbourhoods, worker, stop_at_s) for worker in range(workers)]
        self._together([*searches, *beside], stop_at_s)

    def _plan_by_steps(self, decodes: int) -> None:
        """The same, one part after another, each limited by work done."""
        self._raise_bound(lower_bound(self._problem, limit_s=float("inf")))
        self._anneal(Budget(self._clock, self._stop_at_s, decodes))
        neighbourhoods = NeighbourhoodSearch(self._instance, self._config.seed, self._clock, deterministic=True)
        for _ in range(self._config.neighbourhoods):
            better = neighbourhoods.step(self._incumbent.plan, self._stop_at_s)
            if better is not None:
                self._incumbent.offer(better.plan, better.objective, NEIGHBOURHOOD + better.neighbourhood)
        if self._problem.stages <= TINY_STAGES and self._config.neighbourhoods:
            limits = SolverLimits(float("inf"), 1, self._config.seed, deterministic_s=1.0)
            prove(self._instance, self._incumbent, limits, EXACT, self._raise_bound)

    @cached_property
    def _instance(self) -> Instance:
        return Instance(self._problem)

    def _best_rules(self) -> Portfolio:
        """The portfolio, as much of it as there is time for: a rule is not begun that would end too late."""
        begun_s, rules = self._clock(), 0

        def out_of_time() -> bool:
            nonlocal rules
            rules += 1
            self._decode_s = (self._clock() - begun_s) / rules
            return self._config.decodes is None and self._left_s() < _DECODES_AHEAD * self._decode_s

        return run_portfolio(self._problem, out_of_time)

    def _relax(self) -> None:
        """The linear relaxation, twice: soon, and tighter where there is time."""
        for shares, needed_s in ((QUICK, 0.0), (THOROUGH, _THOROUGH_S)):
            if self._left_s() > needed_s:
                self._raise_bound(lower_bound(self._problem, self._left_s(), shares))

    def _search_keys(self, stop_at_s: float) -> None:
        decodes_s = _DECODES_AHEAD * self._decode_s * self._config.workers
        if self._clock() + decodes_s >= stop_at_s or self._is_proven():
            return
        self._anneal(Budget(self._clock, stop_at_s))

    def _anneal(self, budget: Budget) -> None:
        shop, best = self._portfolio.shop, self._portfolio.best
        found = KeySearch(shop, best.order, best.patience, self._config.seed, self._config.workers).run(budget)
        self._moves = found.moves
        self._incumbent.offer(plan_of(shop, found.line), found.cost, KEY_SEARCH)

    def _search_neighbourhoods(self, worker: int, stop_at_s: float) -> None:
        seed = self._config.seed * self._config.workers + worker
        search = NeighbourhoodSearch(self._instance, seed, self._clock, self._stopper)
        while search.has_time(stop_at_s) and not self._is_proven():
            better = search.step(self._incumbent.plan, stop_at_s)
            if better is not None:
                self._incumbent.offer(better.plan, better.objective, NEIGHBOURHOOD + better.neighbourhood)

    def _prove(self, stop_at_s: float, workers: int, *, proving: bool = False) -> None:
        if self._is_proven():
            return
        limits = SolverLimits(
            stop_at_s - self._clock(), workers, self._config.seed, proving=proving, stopper=self._stopper
        )
        prove(self._instance, self._incumbent, limits, EXACT, self._raise_bound)

    def _together(self, parts: Sequence[Callable[[], None]], stop_at_s: float) -> None:
        """Run parts side by side; go on at the instant even if one does not end, or all are moot."""
        threads = [self._start(part) for part in parts]
        for thread in threads:
            while thread.is_alive() and self._clock() < stop_at_s and not self._is_proven():
                thread.join(min(_POLL_S, max(0.0, stop_at_s - self._clock())))

    def _start(self, part: Callable[[], None]) -> threading.Thread:
        """Run a part in a thread of its own; a part that fails costs its gain, and is reported."""

        def guarded() -> None:
            try:
                part()
            except Exception as error:
                self._failure = f"{type(error).__name__}: {error}"

        thread = threading.Thread(target=guarded)  # no daemon: a solver must not be torn down in mid-flight at exit
        thread.start()
        return thread

    def _raise_bound(self, bound: float) -> None:
        with self._bound_lock:
            self._bound = max(self._bound, bound)

    def _is_proven(self) -> bool:
        return self._incumbent.objective <= self._bound + PROVEN

    def _share_until(self, share: float) -> float:
        return self._began_s + share * self._config.limit_s

    def _left_s(self) -> float:
        return self._stop_at_s - self._clock()
