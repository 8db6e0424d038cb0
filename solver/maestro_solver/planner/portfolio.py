"""The portfolio: every policy, placed in several manners, each a complete plan.

The compiled list scheduler places a policy's order in most manners, tens of thousands of stages a second and more. The
one that lets models take turns is left to the list scheduler of :mod:`maestro_solver.heuristics`, as are all of them
where a snapshot cannot be laid out for the compiled one; it is asked as long as there is time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from maestro.errors import InvalidInputError
from maestro.plan import PlanSource
from maestro_solver.heuristics.list_scheduler import list_schedule, order_keys
from maestro_solver.heuristics.policies import POLICIES, Policy
from maestro_solver.heuristics.policies.policy import OrderKey
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, judge, judge_complete
from maestro_solver.search.layout import Layout
from maestro_solver.search.timetable import schedule_of
from maestro_solver.shop.data import Integers, Reals
from maestro_solver.shop.decoder import decode_whole, order_by_key
from maestro_solver.shop.timeline import like, timeline_at

_LIST_S_PER_OPTION = 4e-5
"""Seconds that the list scheduler of the heuristics takes for each way to run a stage; on the slow side."""

_LEAST_GAIN = 1e-6


class Manner(NamedTuple):
    """How an order is placed; ``suffix`` ends the member's name.

    ``patience`` is how many load times a stage rather waits for a replica that is there than has one loaded.
    ``batched``: stages whose model is there and stays go before those that need a load.
    """

    suffix: str
    patience: float
    batched: bool


MANNERS = (
    Manner("", 0.0, batched=False),
    Manner("+patient", 1.0, batched=False),
    Manner("+most_patient", 3.0, batched=False),
    Manner("+batched", 1.0, batched=True),
)


class Start(NamedTuple):
    """An order of the shop's stages and a patience, from which a search can start."""

    order: Integers
    patience: float


class Portfolio:
    """The members of one snapshot's portfolio. ``start`` is the best of those that the compiled scheduler placed."""

    def __init__(self, instance: Instance, layout: Layout | None) -> None:
        """``layout`` is the instance's, None where it has none."""
        self._instance = instance
        self._layout = layout
        self._orders: dict[str, Integers] = {}
        self.start: Start | None = None
        if layout is not None:
            self._line = timeline_at(like(layout.shop, 1), 0)
            self._completion = np.zeros(layout.shop.deadline.size, dtype=np.int64)

    def run(self, is_over: Callable[[], bool], left_s: float = float("inf")) -> Iterator[Candidate]:
        """The candidates that are better than those before them, at least one, until ``is_over`` says so.

        Slow members are left out where they would take longer than ``left_s``.
        """
        options = sum(len(stage.options) for stage in self._instance.stages)
        slow_fits = options * _LIST_S_PER_OPTION < left_s
        best = least = math.inf
        for manner, policy in product(MANNERS, POLICIES.values()):
            cost = self._decoded(policy, manner)
            candidate = None
            if cost < least:
                least, self.start = cost, Start(self._orders[policy.name], manner.patience)
            if cost < best - _LEAST_GAIN:
                candidate = self._compiled(policy, manner)
            elif math.isinf(cost) and (slow_fits or math.isinf(best)):
                candidate = self._listed(policy, manner)
            if candidate is not None and candidate.objective < best - _LEAST_GAIN:
                best = candidate.objective
                yield candidate
            if not math.isinf(best) and is_over():
                return

    def member(self, name: str) -> Candidate:
        """One member; raises InvalidInputError for a name that none has."""
        members = {
            policy.name + manner.suffix: (policy, manner) for manner, policy in product(MANNERS, POLICIES.values())
        }
        if name not in members:
            known = ", ".join(("planner", "portfolio", *members))
            raise InvalidInputError("policy", "is not known", value=name, remedy=f"one of: {known}")
        policy, manner = members[name]
        placed = not math.isinf(self._decoded(policy, manner))
        return self._compiled(policy, manner) if placed else self._listed(policy, manner)

    def _listed(self, policy: Policy, manner: Manner) -> Candidate:
        keys = order_keys(self._instance, policy)
        schedule = list_schedule(self._instance, keys, manner.patience, batched=manner.batched)
        return judge(self._instance, schedule, PlanSource.PORTFOLIO, policy.name + manner.suffix)

    def _decoded(self, policy: Policy, manner: Manner) -> float:
        """What the compiled scheduler makes of it; infinity where it is not asked, or some stage finds no place."""
        if self._layout is None or manner.batched:
            return math.inf
        order, shop = self._order(self._layout, policy), self._layout.shop
        return decode_whole(shop, self._line, order, manner.patience, self._completion, math.inf)

    def _compiled(self, policy: Policy, manner: Manner) -> Candidate:
        """The candidate that was decoded last."""
        if self._layout is None:
            raise ValueError("nothing is compiled without a layout")
        schedule = schedule_of(self._layout, self._line)
        return judge_complete(self._instance, schedule, PlanSource.PORTFOLIO, policy.name + manner.suffix)

    def _order(self, layout: Layout, policy: Policy) -> Integers:
        if policy.name not in self._orders:
            keys = order_keys(self._instance, policy)
            self._orders[policy.name] = order_by_key(layout.shop, ranked(keys)[layout.positions])
        return self._orders[policy.name]


def ranked(keys: Sequence[OrderKey]) -> Reals:
    """Where each key stands among all of them, equal ones in the order given."""
    rank = np.empty(len(keys))
    rank[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return rank
