"""A schedule on the grid: what heuristics and model both produce, and its translation into the parts of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from maestro.plan import Assignment, Deferral, Residency
from maestro.reasons import Reason
from maestro_solver.instance import GridOption, Instance


class Span(NamedTuple):
    """From tick ``start`` to tick ``end``, the end not included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Resident:
    """A model holds memory on an accelerator from ``load_start`` to ``end`` (None: it stays) and serves from ``ready``.

    ``replica`` is the position of the snapshot's replica that it continues, None for a planned load.
    """

    accelerator: int
    model: int
    load_start: int
    ready: int
    end: int | None
    replica: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Decisions in ticks, by position of stage.

    ``options`` says how each placed LLM stage runs, ``spans`` when each stage runs, tool stages included; ``unplaced``
    why a stage has neither. ``residents`` holds one entry per replica of the snapshot and one per planned load.
    """

    options: Mapping[int, GridOption]
    spans: Mapping[int, Span]
    residents: tuple[Resident, ...]
    unplaced: Mapping[int, Reason]

    def within(self, horizon: int) -> Schedule:
        """The part that starts before ``horizon``: later starts and loads are dropped, later endings left open."""
        spans = {position: span for position, span in self.spans.items() if span.start < horizon}
        deferred = dict.fromkeys(self.spans.keys() - spans.keys(), Reason.DEFERRED_BEYOND_HORIZON)
        return Schedule(
            options={position: option for position, option in self.options.items() if position in spans},
            spans=spans,
            residents=tuple(
                found if found.end is None or found.end < horizon else replace(found, end=None)
                for found in self.residents
                if found.replica is not None or found.load_start < horizon
            ),
            unplaced={**self.unplaced, **deferred},
        )


def assignments(instance: Instance, schedule: Schedule) -> Iterator[Assignment]:
    """The placed LLM stages in seconds, sorted by start, then stage."""
    for position in sorted(schedule.options, key=lambda at: (schedule.spans[at].start, instance.stages[at].key)):
        option = schedule.options[position]
        start_s = instance.grid.seconds(schedule.spans[position].start)
        yield Assignment(
            stage=instance.stages[position].key,
            accelerator=instance.accelerators[option.accelerator].name,
            model=instance.models[option.model].name,
            start_s=start_s,
            end_s=start_s + option.duration_s,
            kv_bytes=option.kv_bytes,
        )


def residencies(instance: Instance, schedule: Schedule) -> Iterator[Residency]:
    """The residents in seconds, sorted by load start, accelerator and model."""
    ordered = sorted(schedule.residents, key=lambda found: (found.load_start, found.accelerator, found.model))
    for found in ordered:
        replica = None if found.replica is None else instance.replicas[found.replica]
        pool_bytes = 0 if instance.accelerators[found.accelerator].elastic else instance.models[found.model].pool_bytes
        yield Residency(
            accelerator=instance.accelerators[found.accelerator].name,
            model=instance.models[found.model].name,
            load_start_s=instance.grid.seconds(found.load_start),
            ready_s=instance.grid.seconds(found.ready) if replica is None else replica.ready_s,
            end_s=None if found.end is None else instance.grid.seconds(found.end),
            initial=replica is not None,
            kv_pool_bytes=pool_bytes if replica is None else replica.pool_bytes,
        )


def deferrals(instance: Instance, schedule: Schedule) -> Iterator[Deferral]:
    """The stages without a place, in the snapshot's order."""
    for position in sorted(schedule.unplaced):
        yield Deferral(instance.stages[position].key, schedule.unplaced[position])
