"""A snapshot planned as an operator asks for it: by the planner, by the portfolio alone, or by one of its members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Final

from maestro.errors import InvalidInputError, MaestroError
from maestro.plan import Plan, PlanSource, SolveStatus
from maestro.snapshot import Snapshot
from maestro_solver.bounds import critical_path_bound
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, as_plan, judge, plain_provenance, violations
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.planning import Clock, plan
from maestro_solver.planner.portfolio import MANNERS, run_portfolio

PLANNER: Final = "planner"
PORTFOLIO: Final = "portfolio"

_EQUAL: Final = 1e-6
"""Relative difference up to which an objective equals its bound."""


def plan_by(policy: str, snapshot: Snapshot, config: PlannerConfig, clock: Clock) -> Plan:
    """The plan of ``planner``, ``portfolio`` or one member of the portfolio (``edf``, ``wspt+patient``, ...).

    Raises InvalidInputError for an unknown policy and for a snapshot that contradicts itself, MaestroError where the
    checker rejects every plan of the policy.
    """
    if policy == PLANNER:
        return plan(snapshot, config, clock)
    member = None if policy == PORTFOLIO else _member(policy)
    started_s = clock()
    instance = discretize(snapshot, Grid.suited(snapshot, config.tick_s), config.horizon_s)
    built_s = clock()
    stop_at_s = started_s + config.limit_s
    found = run_portfolio(instance, lambda: clock() >= stop_at_s) if member is None else iter((member(instance),))
    best = _best_valid(instance, found, policy)
    solved_s = clock()
    return _with_bound(instance, best, built_s - started_s, solved_s - built_s)


def _member(name: str) -> Callable[[Instance], Candidate]:
    """One policy in one manner of placing; raises InvalidInputError for a name that none has."""
    members = {policy.name + manner.suffix: (policy, manner) for manner, policy in product(MANNERS, POLICIES.values())}
    if name not in members:
        known = ", ".join((PLANNER, PORTFOLIO, *members))
        raise InvalidInputError("policy", "is not known", value=name, remedy=f"one of: {known}")
    policy, manner = members[name]

    def candidate(instance: Instance) -> Candidate:
        keys = order_keys(instance, policy)
        schedule = list_schedule(instance, keys, manner.patience, batched=manner.batched)
        return judge(instance, schedule, PlanSource.PORTFOLIO, name)

    return candidate


def _best_valid(instance: Instance, candidates: Iterator[Candidate], policy: str) -> Candidate:
    best: Candidate | None = None
    for candidate in candidates:
        if (best is None or candidate.objective < best.objective) and not violations(instance, candidate):
            best = candidate
    if best is None:
        raise MaestroError(f"the checker rejects every plan of {policy}")
    return best


def _with_bound(instance: Instance, best: Candidate, build_s: float, solve_s: float) -> Plan:
    bound = min(critical_path_bound(instance), best.objective)
    is_optimal = best.objective - bound <= _EQUAL * max(1.0, best.objective)
    provenance = replace(
        plain_provenance(instance, best),
        status=SolveStatus.OPTIMAL if is_optimal else SolveStatus.HEURISTIC,
        bound=bound,
        gap=(best.objective - bound) / best.objective if best.objective > 0 else 0.0,
        build_s=build_s,
        solve_s=solve_s,
        total_s=build_s + solve_s,
        portfolio_objective=best.objective,
    )
    return as_plan(instance, best, provenance)
