"""Solving a capacity problem: all demand on the fewest accelerators, or what the budget can serve, and why not more.

1. Fewest accelerators that serve all demand, on the whole fleet. Within the budget, that is the answer.
2. Otherwise the most weighted demand that the budget serves, then the fewest accelerators that serve as much.
3. What step 1 found is the least budget that would do; where it proved that none does, it is asked once more
   without the limits per cluster, to tell these from a fleet that is too small.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from maestro.errors import InvalidInputError
from maestro_solver.capacity.data import CapacityPlan, CapacityProblem, CapacityStatus, Shortfall
from maestro_solver.capacity.layouts import enumerate_layouts
from maestro_solver.capacity.model import CapacityModel, Limits, Outcome
from maestro_solver.capacity.reasons import fleet_too_small, obstacles, pinning_conflict, too_few
from maestro_solver.capacity.result import Realised, realise

_TOLERANCE = 1e-6

_RESERVE = 0.05
"""Share of the limit kept for what comes after the solver; HiGHS itself looks at its clock only between steps."""


def solve(
    problem: CapacityProblem, budget: int, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> CapacityPlan:
    """Return the best plan for at most ``budget`` accelerators that is found within ``limit_s`` seconds.

    ``clock`` is read to keep the limit. Raises InvalidInputError for a budget that is no whole number from 0 on, or
    a limit that is not above 0.
    """
    return frontier(problem, (budget,), limit_s, clock)[0]


def frontier(
    problem: CapacityProblem, budgets: Sequence[int], limit_s: float, clock: Callable[[], float] = time.monotonic
) -> tuple[CapacityPlan, ...]:
    """Return a plan for each of ``budgets``, each within ``limit_s`` seconds; otherwise as ``solve``."""
    for budget in budgets:
        if not isinstance(budget, int) or isinstance(budget, bool) or budget < 0:
            raise InvalidInputError("budget", "must be a whole number of accelerators, 0 or more", value=budget)
    if not 0 < limit_s < math.inf:
        raise InvalidInputError("limit_s", "must be a finite number of seconds above 0", value=limit_s)
    started_s = clock()
    study = _Study(problem, clock)
    plans: list[CapacityPlan] = []
    for budget in budgets:
        plans.append(study.plan(budget, started_s, limit_s))
        started_s = clock()
    return tuple(plans)


class _Study:
    """What does not depend on the budget: the layouts, the hopeless demands, and the answer for the whole fleet."""

    def __init__(self, problem: CapacityProblem, clock: Callable[[], float]) -> None:
        self._problem = problem
        self._clock = clock
        self._layouts = enumerate_layouts(problem)
        self._obstacles = obstacles(problem, self._layouts)
        self._per_cluster = problem.fleet.budget.per_cluster
        self._fleet_size = sum(len(group.places) for group in self._layouts.groups)
        self._whole_fleet: Outcome | None = None
        self._deadline_s = -math.inf

    def plan(self, budget: int, started_s: float, limit_s: float) -> CapacityPlan:
        """Return the plan for one budget; a third of the time goes to the whole fleet, unless it is known already."""
        self._deadline_s = started_s + limit_s * (1 - _RESERVE)
        whole_fleet = self._serve_all_on_whole_fleet()
        everything = realise(self._problem, self._layouts, whole_fleet.solution)
        if whole_fleet.solution is not None and everything.accelerators_used <= budget:
            answer = _Answer(everything, self._demanded_weight(), whole_fleet.bound)
        else:
            answer = self._serve_most(budget)
        shortfall = None if answer.realised.complete else self._shortfall(budget, answer)
        return self._report(budget, answer, shortfall, self._clock() - started_s)

    def _serve_all_on_whole_fleet(self) -> Outcome:
        """Find the fewest accelerators that serve all demand, whatever the budget; asked once for all budgets."""
        if self._whole_fleet is None:
            conflict = pinning_conflict(self._layouts, self._fleet_size, self._per_cluster)
            if self._obstacles or conflict is not None:
                self._whole_fleet = Outcome(None, infeasible=True, bound=math.inf)
            else:
                self._whole_fleet = self._model(self._fleet_size, self._per_cluster).fewest_accelerators(1 / 3)
        return self._whole_fleet

    def _serve_most(self, budget: int) -> _Answer:
        """Serve as much as the budget can, on as few accelerators as that takes."""
        if pinning_conflict(self._layouts, budget, self._per_cluster) is not None:
            return _Answer(realise(self._problem, self._layouts, None), 0.0, 0.0)
        model = self._model(budget, self._per_cluster)
        most = model.most_served(3 / 4)
        best = realise(self._problem, self._layouts, most.solution)
        if most.solution is None:
            return _Answer(best, most.bound, 0.0)
        enough = None if best.complete else self._objective(best) * (1 - _TOLERANCE)
        fewest = model.fewest_accelerators(3 / 4, enough)
        if fewest.solution is not None:
            fewer = realise(self._problem, self._layouts, fewest.solution)
            best = fewer if fewer.accelerators_used < best.accelerators_used else best
        return _Answer(best, most.bound, fewest.bound)

    def _shortfall(self, budget: int, answer: _Answer) -> Shortfall | None:
        """Return why not all is served where that is proven, None where the time ended before."""
        if self._obstacles:
            return next(iter(self._obstacles.values()))
        conflict = pinning_conflict(self._layouts, budget, self._per_cluster)
        if conflict is not None:
            return self._with_least(conflict)
        whole_fleet = self._serve_all_on_whole_fleet()
        if not self._layouts.exhaustive:
            return None
        served = answer.realised.served
        if whole_fleet.infeasible:
            unlimited = self._model(self._fleet_size, {}).fewest_accelerators(1.0)
            return fleet_too_small(served, self._fleet_size, limited_by_cluster=unlimited.solution is not None)
        needs_more = _whole(whole_fleet.bound) > budget
        serves_less = answer.served_bound < self._demanded_weight() * (1 - 10 * _TOLERANCE)
        if not needs_more and not serves_less:
            return None
        return self._with_least(too_few(served, budget))

    def _with_least(self, shortfall: Shortfall) -> Shortfall:
        """Add the least budget that would do, as far as the whole fleet's answer tells it."""
        whole_fleet = self._serve_all_on_whole_fleet()
        if shortfall.least_is_proven or whole_fleet.solution is None:
            return shortfall
        least = realise(self._problem, self._layouts, whole_fleet.solution).accelerators_used
        proven = self._layouts.exhaustive and least <= _whole(whole_fleet.bound)
        needs = f"serving all takes {least}" if proven else f"{least} would do, perhaps fewer"
        return replace(
            shortfall, reason=f"{shortfall.reason}; {needs}", least_accelerators=least, least_is_proven=proven
        )

    def _report(self, budget: int, answer: _Answer, shortfall: Shortfall | None, seconds: float) -> CapacityPlan:
        realised = answer.realised
        objective = self._objective(realised)
        bound, fewest = self._servable_weight(), 0
        if self._layouts.exhaustive:
            bound = max(objective, min(bound, answer.served_bound))
            fewest = min(_whole(answer.accelerators_bound), realised.accelerators_used)
        if realised.complete:
            proven = fewest == realised.accelerators_used
            status = CapacityStatus.OPTIMAL if proven else CapacityStatus.FEASIBLE
            gap = _relative(realised.accelerators_used - fewest, realised.accelerators_used)
        else:
            status = CapacityStatus.INFEASIBLE if shortfall else CapacityStatus.UNKNOWN
            gap = _relative(bound - objective, bound)
        return CapacityPlan(
            status=status,
            budget=budget,
            accelerators_used=realised.accelerators_used,
            accelerators_bound=fewest,
            replicas=realised.replicas,
            served=realised.served,
            objective=objective,
            bound=bound,
            gap=gap,
            seconds=seconds,
            shortfall=shortfall,
        )

    def _model(self, total: int, per_cluster: Mapping[str, int]) -> CapacityModel:
        return CapacityModel(self._problem, self._layouts, Limits(total, per_cluster), self._remaining_s)

    def _remaining_s(self) -> float:
        return self._deadline_s - self._clock()

    def _objective(self, realised: Realised) -> float:
        demands = self._problem.demands
        return sum(demand.weight * realised.served[demand.name] for demand in demands if demand.requests_per_s > 0)

    def _demanded_weight(self) -> float:
        return sum(demand.weight for demand in self._problem.demands if demand.requests_per_s > 0)

    def _servable_weight(self) -> float:
        return self._demanded_weight() - sum(
            demand.weight for demand in self._problem.demands if demand.name in self._obstacles
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """Replicas for one budget, with an upper bound on the weight served and a lower one on accelerators for it."""

    realised: Realised
    served_bound: float
    accelerators_bound: float


def _whole(bound: float) -> int:
    """Round a lower bound on a whole number up; nothing proven is 0."""
    return max(0, math.ceil(bound - _TOLERANCE)) if math.isfinite(bound) else 0


def _relative(distance: float, of: float) -> float:
    return distance / of if of > 0 else 0.0
