"""Residencies that end when their last stage does, each kept as long as its memory serves nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maestro_solver.heuristics.profile import FOREVER, StepProfile
from maestro_solver.instance import NOWHERE, GridOption, Instance
from maestro_solver.schedule import Resident, Span


def kept_longest(
    instance: Instance, residents: Sequence[Resident], options: Mapping[int, GridOption], spans: Mapping[int, Span]
) -> tuple[Resident, ...]:
    """The same residencies, each evicted as late as memory and later loads of the same model allow."""
    memory = [StepProfile() for _ in instance.accelerators]
    for position, option in options.items():
        if instance.accelerators[option.accelerator].elastic:
            for member in instance.members(option.model, option.accelerator):
                memory[member].add(*spans[position], option.kv)
    for running in instance.running:
        if running.accelerator != NOWHERE and instance.accelerators[running.accelerator].elastic:
            for member in instance.members(running.model, running.accelerator):
                memory[member].add(0, running.end, running.kv)
    for found in residents:
        end = FOREVER if found.end is None else found.end
        for member in instance.members(found.model, found.accelerator):
            memory[member].add(found.load_start, end, _held(instance, found))
    return tuple(_lengthened(instance, found, residents, memory) for found in residents)


def _lengthened(
    instance: Instance, found: Resident, residents: Sequence[Resident], memory: Sequence[StepProfile]
) -> Resident:
    """One residency, ended as late as memory and later residencies of the same pair allow."""
    if found.end is None or (found.replica is not None and instance.replicas[found.replica].draining):
        return found
    held, members = _held(instance, found), instance.members(found.model, found.accelerator)
    limit = min(
        (
            other.load_start
            for other in residents
            if (other.model, other.accelerator) == (found.model, found.accelerator)
            and other.load_start >= found.end
            and other is not found
            and other.replica is None
        ),
        default=FOREVER,
    )
    full = min(_full_from(memory[at], found.end, instance.accelerators[at].memory - held) for at in members)
    end = min(limit, full)
    for member in members:
        memory[member].add(found.end, end, held)
    return Resident(
        found.accelerator, found.model, found.load_start, found.ready, None if end >= FOREVER else end, found.replica
    )


def _full_from(memory: StepProfile, start: int, room: int) -> int:
    """The first tick from ``start`` on at which more than ``room`` is held."""
    later = [time for time in memory.times if time > start]
    return next((time for time in [start, *later] if memory.level_at(time) > room), FOREVER)


def _held(instance: Instance, found: Resident) -> int:
    if found.replica is not None:
        return instance.replicas[found.replica].memory
    return instance.memory_of(found.model, found.accelerator)
