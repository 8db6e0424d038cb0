"""The portfolio: every policy, placed in several manners, each a complete plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from maestro.plan import PlanSource
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, judge


class Manner(NamedTuple):
    """How the list scheduler places a policy's order; ``suffix`` ends the member's name."""

    suffix: str
    patience: float
    batched: bool


MANNERS = (
    Manner("", 0.0, batched=False),
    Manner("+batched", 1.0, batched=True),
    Manner("+patient", 1.0, batched=False),
)


def run_portfolio(instance: Instance, is_over: Callable[[], bool]) -> Iterator[Candidate]:
    """The members' candidates one by one, at least one, until ``is_over`` says so."""
    for manner, policy in product(MANNERS, POLICIES.values()):
        keys = order_keys(instance, policy)
        schedule = list_schedule(instance, keys, manner.patience, batched=manner.batched)
        yield judge(instance, schedule, PlanSource.PORTFOLIO, policy.name + manner.suffix)
        if is_over():
            return
