"""From an instance document to a checked plan document, inside one wall-clock limit.

This is the whole way: build the problem, plan, check. A plan that the checker rejects is replaced by a rule's plan, and
the reason is stated; so a fault in a search costs quality and never validity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from maestro.errors import MaestroError
from maestro_solver.core_instance.check import Violation, violations
from maestro_solver.core_instance.decoder import least_cost
from maestro_solver.core_instance.document import InstanceDocument, plan_document
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.planning import plan_instance
from maestro_solver.core_instance.portfolio import Portfolio, run_portfolio, run_rule
from maestro_solver.core_instance.problem import CoreProblem, cost
from maestro_solver.core_instance.result import InstanceConfig, InstanceResult
from maestro_solver.core_instance.shop import shop_of

PLANNER: Final = "planner"
PORTFOLIO: Final = "portfolio"

FALLBACK_RULE: Final = "llf"

_CHECK_S: Final = 0.01
_CHECK_S_PER_STAGE: Final = 30e-6
"""Time set aside for building the plan document and checking it."""


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
    if policy == PORTFOLIO:
        stop_at_s = clock() + config.limit_s
        return _from_portfolio(problem, run_portfolio(problem, lambda: clock() >= stop_at_s))
    return _from_portfolio(problem, run_rule(problem, policy))


def _from_portfolio(problem: CoreProblem, portfolio: Portfolio, reason: str | None = None) -> InstanceResult:
    return InstanceResult(
        plan=portfolio.best.plan,
        terms=cost(problem, portfolio.best.plan),
        bound=least_cost(shop_of(problem)),
        source=portfolio.best.rule,
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
    fallback = _from_portfolio(problem, run_rule(problem, FALLBACK_RULE), f"checker rejected {_told(broken)}")
    plan = plan_document(problem, fallback.plan)
    if still_broken := violations(document, plan):
        raise MaestroError(f"no plan passes the checker: {_told(still_broken)}")
    return fallback, plan


def _told(broken: list[Violation]) -> str:
    return f"{broken[0].rule}: {broken[0].detail} (and {len(broken) - 1} more)"
