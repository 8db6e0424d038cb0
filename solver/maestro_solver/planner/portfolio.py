"""The portfolio: every policy, eager and patient, each a complete plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from maestro.plan import PlanSource
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, judge

PATIENCE = {"": 0.0, "+patient": 1.0}
"""How many load times a stage rather waits than has a model loaded, by the suffix of the member's name."""


def members() -> Iterator[tuple[str, str, float]]:
    """Name, policy and patience of every member, in the order they are tried."""
    for suffix, patience in PATIENCE.items():
        for policy in POLICIES:
            yield policy + suffix, policy, patience


def run_portfolio(instance: Instance, is_over: Callable[[], bool]) -> Iterator[Candidate]:
    """The members' candidates one by one, at least one, until ``is_over`` says so."""
    for name, policy, patience in members():
        schedule = list_schedule(instance, order_keys(instance, POLICIES[policy]), patience)
        yield judge(instance, schedule, PlanSource.PORTFOLIO, name)
        if is_over():
            return
