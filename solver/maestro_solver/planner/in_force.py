"""What a plan still wants done: its starts in order, and its loads with those who leave for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from maestro.plan import Plan, Residency
from maestro.snapshot import LoadInForce, PlanInForce, ReplicaPlace, StartInForce

_SAME_INSTANT_S = 1e-6

Members = Callable[[str, str], tuple[str, ...]]
"""The accelerators of a replica, given its model and the first of them; see ``Snapshot.members``."""


def alone(model: str, accelerator: str) -> tuple[str, ...]:  # noqa: ARG001 - one of Members
    """The members where no model takes several accelerators."""
    return (accelerator,)


def in_force_of(plan: Plan, members: Members = alone) -> PlanInForce:
    """All that a plan orders, at the instant it was made for: nothing of it has begun."""
    starts = (
        StartInForce(found.stage, found.accelerator, found.model, found.start_s)
        for found in sorted(plan.assignments, key=lambda found: (found.start_s, found.stage))
    )
    loads = (
        LoadInForce(load.accelerator, load.model, load.load_start_s, evicts)
        for load, evicts in loads_in_order(plan.residencies, members)
    )
    return PlanInForce(tuple(starts), tuple(sorted(loads, key=lambda load: (load.due_in_s, load.accelerator))))


def loads_in_order(
    residencies: Sequence[Residency], members: Members = alone
) -> Iterator[tuple[Residency, frozenset[ReplicaPlace]]]:
    """A plan's loads by their start, with the replicas that each evicts.

    Those are what ended on any of its accelerators between the load before it there and itself.
    """
    taken = [members(found.model, found.accelerator) for found in residencies]
    here: dict[str, set[int]] = defaultdict(set)
    for position, names in enumerate(taken):
        for name in names:
            here[name].add(position)
    claimed: dict[str, set[int]] = defaultdict(set)
    loads = (position for position, found in enumerate(residencies) if not found.initial)
    for position in sorted(loads, key=lambda found: residencies[found].load_start_s):
        load, evicted = residencies[position], set[int]()
        for name in taken[position]:
            ended = {other for other in here[name] - {position} if _ends_for(residencies[other], load)}
            evicted |= ended - claimed[name]
            claimed[name] |= ended
        yield load, frozenset(ReplicaPlace(residencies[at].model, residencies[at].accelerator) for at in evicted)


def _ends_for(other: Residency, load: Residency) -> bool:
    """Whether a residency is over when a load begins."""
    return other.end_s is not None and other.end_s <= load.load_start_s + _SAME_INSTANT_S
