"""From an instance document to a checked plan document, inside one wall-clock limit.

This is the whole way: build the problem, plan, check. A plan that the checker rejects is replaced by a rule's plan, and
the reason is stated; so a fault in a search costs quality and never validity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from maestro.errors import MaestroError
from maestro_solver.core_instance.bounds.lower_bound import critical_path_bound, lower_bound
from maestro_solver.core_instance.check import Violation, violations
from maestro_solver.core_instance.document import InstanceDocument, plan_document
from maestro_solver.core_instance.exact.proof import PROVEN
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.planning import plan_instance
from maestro_solver.core_instance.portfolio import Portfolio, run_portfolio, run_rule
from maestro_solver.core_instance.problem import CoreProblem, cost
from maestro_solver.core_instance.result import InstanceConfig, InstanceResult, PlanStatus
from maestro_solver.shop.energy import QUICK, THOROUGH

PLANNER: Final = "planner"
PORTFOLIO: Final = "portfolio"

FALLBACK_RULE: Final = "llf"

_CHECK_S: Final = 0.01
_CHECK_S_PER_STAGE: Final = 30e-6
"""Time set aside for building the plan document and checking it."""

_RELAXATION_S: Final = 0.25
"""From here on the linear relaxation bounds a rule's plan within the limit; a large instance takes half of it."""

_THOROUGH_S: Final = 2.0
"""From here on the tighter one does."""


@dataclass(frozen=True)
class Answer:
    """A plan document that passed the checker, what it costs, and where the time went."""

    result: InstanceResult
    document: Mapping[str, Any]
    build_s: float
    solve_s: float
    check_s: float

    @property
    def total_s(self) -> float:
        """Building, solving and checking together."""
        return self.build_s + self.solve_s + self.check_s


def answer(document: InstanceDocument, policy: str, config: InstanceConfig, clock: Callable[[], float]) -> Answer:
    """Plan the instance with ``planner``, ``portfolio`` or one rule, and check the plan, within ``config.limit_s``.

    Raises InvalidInputError for an unknown policy.
    """
    began_s = clock()
    problem = problem_from_document(document)
    built_s = clock()
    reserve_s = _CHECK_S + _CHECK_S_PER_STAGE * problem.stages
    left_s = max(0.0, config.limit_s - (built_s - began_s) - reserve_s)
    result = _plan(problem, policy, replace(config, limit_s=left_s), clock)
    solved_s = clock()
    result, plan = _checked(document, problem, result)
    return Answer(result, plan, built_s - began_s, solved_s - built_s, clock() - solved_s)


def _plan(problem: CoreProblem, policy: str, config: InstanceConfig, clock: Callable[[], float]) -> InstanceResult:
    if policy == PLANNER:
        return plan_instance(problem, config, clock)
    stop_at_s = clock() + config.limit_s
    if policy == PORTFOLIO:
        rules_until_s = stop_at_s - min(_RELAXATION_S, config.limit_s / 4)
        found = run_portfolio(problem, lambda: clock() >= rules_until_s)
    else:
        found = run_rule(problem, policy)
    return _from_portfolio(problem, found, _bound_within(problem, stop_at_s - clock()))


def _bound_within(problem: CoreProblem, left_s: float) -> float:
    """The tightest lower bound that there is time for."""
    if left_s < _RELAXATION_S:
        return critical_path_bound(problem)
    return lower_bound(problem, left_s, THOROUGH if left_s >= _THOROUGH_S else QUICK)


def _from_portfolio(
    problem: CoreProblem, portfolio: Portfolio, bound: float, reason: str | None = None
) -> InstanceResult:
    terms = cost(problem, portfolio.best.plan)
    return InstanceResult(
        plan=portfolio.best.plan,
        terms=terms,
        bound=min(bound, terms.objective),
        source=portfolio.best.rule,
        status=PlanStatus.OPTIMAL if terms.objective <= bound + PROVEN else PlanStatus.FEASIBLE,
        fallback_reason=reason,
        portfolio=portfolio.objectives,
    )


def _checked(
    document: InstanceDocument, problem: CoreProblem, result: InstanceResult
) -> tuple[InstanceResult, Mapping[str, Any]]:
    """The result and its plan document, or the fallback's where the checker rejects it."""
    plan = plan_document(problem, result.plan)
    broken = violations(document, plan)
    if not broken:
        return result, plan
    reason = f"checker rejected {_told(broken)}"
    fallback = _from_portfolio(problem, run_rule(problem, FALLBACK_RULE), critical_path_bound(problem), reason)
    plan = plan_document(problem, fallback.plan)
    if still_broken := violations(document, plan):
        raise MaestroError(f"no plan passes the checker: {_told(still_broken)}")
    return fallback, plan


def _told(broken: list[Violation]) -> str:
    return f"{broken[0].rule}: {broken[0].detail} (and {len(broken) - 1} more)"
