"""The portfolio's plans: every rule decoded, the best kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from maestro.errors import InvalidInputError
from maestro_solver.core_instance.problem import CorePlan, CoreProblem, Integers, Reals
from maestro_solver.core_instance.rules import rule_keys
from maestro_solver.core_instance.shop import plan_of, shop_of
from maestro_solver.shop.data import Shop
from maestro_solver.shop.decoder import decode_whole, order_by_key
from maestro_solver.shop.timeline import like, timeline_at

LOAD_PATIENCES: Final = (2.0, 0.0)
"""How long a stage waits for room beside a resident copy of its model rather than load another, in load times."""


@dataclass(frozen=True)
class RulePlan:
    """The best plan so far of a portfolio: its rule, the order that gave it, and what it costs."""

    rule: str
    order: Integers
    patience: float
    plan: CorePlan
    objective: float


@dataclass(frozen=True)
class Portfolio:
    """The best plan of all rules that were tried, what each of them cost, and the shop they were decoded on."""

    best: RulePlan
    objectives: Mapping[str, float]
    shop: Shop


class ListScheduler:
    """Decodes orders of stages on one timeline that is used again and again."""

    def __init__(self, problem: CoreProblem) -> None:
        """Set aside the timeline's room."""
        self.shop = shop_of(problem)
        self._line = timeline_at(like(self.shop, 1), 0)
        self._completion = np.zeros(problem.workflows, dtype=np.int64)

    def schedule(self, order: Integers, patience: float) -> float:
        """Decode an order in which every stage stands after its predecessors; what its plan costs."""
        return decode_whole(self.shop, self._line, order, patience, self._completion, np.inf)

    def plan(self) -> CorePlan:
        """The plan of the last order."""
        return plan_of(self.shop, self._line)


def run_rule(problem: CoreProblem, rule: str) -> Portfolio:
    """The plan of one rule; raises InvalidInputError for a name that no rule has."""
    keys = rule_keys(problem)
    if rule not in keys:
        known = ", ".join(["planner", "portfolio", *keys])
        raise InvalidInputError("policy", "is not known", value=rule, remedy=f"one of: {known}")
    return _run(problem, {rule: keys[rule]}, lambda: False)


def run_portfolio(problem: CoreProblem, out_of_time: Callable[[], bool]) -> Portfolio:
    """The best of the rules that could be decoded before time ran out, at least one."""
    return _run(problem, rule_keys(problem), out_of_time)


def _run(problem: CoreProblem, keys: Mapping[str, Reals], out_of_time: Callable[[], bool]) -> Portfolio:
    scheduler = ListScheduler(problem)
    orders = {rule: order_by_key(scheduler.shop, key) for rule, key in keys.items()}
    objectives: dict[str, float] = {}
    best: RulePlan | None = None
    for patience, rule in itertools.product(LOAD_PATIENCES, keys):
        objective = scheduler.schedule(orders[rule], patience)
        objectives[rule] = min(objective, objectives.get(rule, objective))
        if best is None or objective < best.objective:
            best = RulePlan(rule, orders[rule], patience, scheduler.plan(), objective)
        if out_of_time():
            break
    if best is None:
        raise ValueError("a portfolio needs at least one rule")
    return Portfolio(best, objectives, scheduler.shop)
