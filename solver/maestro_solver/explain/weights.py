"""What each weight of the objective costs: how much better all other terms could be if it did not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Final

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_solver.explain.data import WeightPrice
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner import plan as make_plan

UNITS: Final[Mapping[str, str]] = {
    "late": "weight of late workflows",
    "tardy": "weighted seconds of tardiness",
    "latency": "weighted seconds to completion",
    "swap": "seconds of loading",
    "network": "seconds of network delay",
    "gpu": "accelerators in use",
}
"""The terms in the objective's order, and what their weights are per unit of."""


def weight_prices(
    snapshot: Snapshot, plan: Plan, config: PlannerConfig, clock: Callable[[], float]
) -> tuple[WeightPrice, ...]:
    """The price of each weight, each found by planning once more without it; ``config.limit_s`` is for all of them."""
    weights = asdict(snapshot.weights)
    counting = [term for term in UNITS if weights[term] > 0]
    share = replace(config, limit_s=config.limit_s / max(1, len(counting)))
    own = plan.provenance.terms
    prices = dict.fromkeys(UNITS, 0.0)
    for term in counting:
        without = replace(snapshot, weights=replace(snapshot.weights, **{term: 0.0}))
        found = make_plan(without, share, clock).provenance.terms
        prices[term] = max(0.0, _others(own, term) - _others(found, term))
    return tuple(
        WeightPrice(
            term=term,
            weight=weights[term],
            unit=unit,
            cost=own.get(term, 0.0),
            amount=own.get(term, 0.0) / weights[term] if term in counting else None,
            price=prices[term],
        )
        for term, unit in UNITS.items()
    )


def _others(terms: Mapping[str, float], term: str) -> float:
    """What all terms but one cost."""
    return sum(cost for name, cost in terms.items() if name != term)
