"""What a plan still wants done: its starts in order, and its loads with those who leave for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from maestro.plan import Plan, Residency
from maestro.snapshot import LoadInForce, PlanInForce, StartInForce

_SAME_INSTANT_S = 1e-6


def in_force_of(plan: Plan) -> PlanInForce:
    """All that a plan orders, at the instant it was made for: nothing of it has begun."""
    starts = (
        StartInForce(found.stage, found.accelerator, found.model, found.start_s)
        for found in sorted(plan.assignments, key=lambda found: (found.start_s, found.stage))
    )
    by_accelerator: dict[str, list[Residency]] = defaultdict(list)
    for residency in plan.residencies:
        by_accelerator[residency.accelerator].append(residency)
    loads = (
        LoadInForce(load.accelerator, load.model, load.load_start_s, evicts)
        for found in by_accelerator.values()
        for load, evicts in loads_in_order(found)
    )
    return PlanInForce(tuple(starts), tuple(sorted(loads, key=lambda load: (load.due_in_s, load.accelerator))))


def loads_in_order(residencies: Sequence[Residency]) -> Iterator[tuple[Residency, frozenset[str]]]:
    """The loads of one accelerator by their start; each evicts what ended between the one before it and itself."""
    claimed = set[int]()
    for load in sorted((found for found in residencies if not found.initial), key=lambda found: found.load_start_s):
        ended = {
            position
            for position, other in enumerate(residencies)
            if other is not load and other.end_s is not None and other.end_s <= load.load_start_s + _SAME_INSTANT_S
        }
        yield load, frozenset(residencies[position].model for position in ended - claimed)
        claimed |= ended
