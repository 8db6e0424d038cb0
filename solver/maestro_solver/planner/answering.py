"""A snapshot planned as an operator asks for it: by the planner, by the portfolio alone, or by one of its members."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from maestro.errors import MaestroError
from maestro.plan import Plan, SolveStatus
from maestro.snapshot import Snapshot
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, as_plan, plain_provenance, violations
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.planning import Clock, plan
from maestro_solver.planner.portfolio import Portfolio
from maestro_solver.search.bounds import Bound
from maestro_solver.search.layout import lay_out

PLANNER: Final = "planner"
PORTFOLIO: Final = "portfolio"

_EQUAL: Final = 1e-6
"""Relative difference up to which an objective equals its bound."""


def plan_by(policy: str, snapshot: Snapshot, config: PlannerConfig, clock: Clock) -> Plan:
    """The plan of ``planner``, ``portfolio`` or one member of the portfolio (``edf``, ``wspt+patient``, ...).

    Where ``config`` is deterministic the bound of a plan that the planner did not make is that of critical paths.
    Raises InvalidInputError for an unknown policy and for a snapshot that contradicts itself, MaestroError where the
    checker rejects every plan of the policy.
    """
    if policy == PLANNER:
        return plan(snapshot, config, clock)
    started_s = clock()
    instance = discretize(snapshot, Grid.suited(snapshot, config.tick_s), config.horizon_s)
    layout = lay_out(instance)
    members = Portfolio(instance, layout)
    built_s = clock()
    stop_at_s = started_s + config.limit_s
    left_s = stop_at_s - built_s
    found = (
        members.run(lambda: clock() >= stop_at_s, left_s) if policy == PORTFOLIO else iter((members.member(policy),))
    )
    best = _best_valid(instance, found, policy)
    solved_s = clock()
    bound = Bound(instance, layout)
    if not config.deterministic:
        bound.tighten(max(0.0, stop_at_s - solved_s))
        bound.wait(stop_at_s - clock())
    return _with_bound(instance, best, bound.value, built_s - started_s, solved_s - built_s)


def _best_valid(instance: Instance, candidates: Iterator[Candidate], policy: str) -> Candidate:
    best: Candidate | None = None
    for candidate in candidates:
        if (best is None or candidate.objective < best.objective) and not violations(instance, candidate):
            best = candidate
    if best is None:
        raise MaestroError(f"the checker rejects every plan of {policy}")
    return best


def _with_bound(instance: Instance, best: Candidate, bound: float, build_s: float, solve_s: float) -> Plan:
    bound = min(bound, best.objective)
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
