"""Accelerators that a snapshot alone fills beyond a capacity, and those that share a replica with one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Set

from maestro_solver.instance import NOWHERE, Instance


def closed_accelerators(instance: Instance) -> frozenset[int]:
    """Those whose memory, slots, batch or pool are exceeded by what is there now.

    A limit may have been lowered while stages ran. The model, in which every capacity holds at every instant, would
    have no solution, or would have to evict at once; it leaves such accelerators as they are.
    """
    overfull = {*_over_memory(instance), *_over_places(instance), *_over_pools(instance)}
    return with_sharers(instance, overfull)


def with_sharers(instance: Instance, closed: Set[int]) -> frozenset[int]:
    """The accelerators, and all that share a replica of the snapshot with one of them.

    Then every replica that is there now is either all on closed accelerators or all on others.
    """
    groups = [set(instance.members(found.model, found.accelerator)) for found in instance.replicas]
    found: frozenset[int] = frozenset(closed)
    while more := frozenset().union(*(group for group in groups if group & found)) - found:
        found |= more
    return found


def _over_memory(instance: Instance) -> Iterator[int]:
    """Memory as it is held now; what a replica that has drained already holds is free at once."""
    held = Counter[int]()
    for replica in instance.replicas:
        if replica.busy_until > 0 or not replica.draining:
            held.update(dict.fromkeys(instance.members(replica.model, replica.accelerator), replica.memory))
    for running in instance.running:
        if running.accelerator != NOWHERE and instance.accelerators[running.accelerator].elastic and running.end > 0:
            held.update(dict.fromkeys(instance.members(running.model, running.accelerator), running.kv))
    for position, accelerator in enumerate(instance.accelerators):
        if held[position] > accelerator.memory:
            yield position


def _over_places(instance: Instance) -> Iterator[int]:
    """Slots and batches: everything running now runs at once."""
    running = Counter[int]()
    batches: dict[tuple[int, int], int] = defaultdict(int)
    for found in instance.running:
        if found.end > 0:
            running.update(instance.members(found.model, found.accelerator))
        batches[found.model, found.accelerator] += found.end > 0
    for position, accelerator in enumerate(instance.accelerators):
        if running[position] > accelerator.slots:
            yield position
    for (model, position), batch in batches.items():
        if NOWHERE not in {model, position} and batch > instance.models[model].max_batch:
            yield position


def _over_pools(instance: Instance) -> Iterator[int]:
    held: dict[tuple[int, int], int] = defaultdict(int)
    for found in instance.running:
        held[found.model, found.accelerator] += found.kv if found.end > 0 else 0
    for replica in instance.replicas:
        is_fixed = not instance.accelerators[replica.accelerator].elastic and not replica.draining
        if is_fixed and held[replica.model, replica.accelerator] > replica.pool:
            yield replica.accelerator
