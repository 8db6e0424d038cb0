"""What a timeline of a layout's shop holds, as a schedule of the instance."""

from __future__ import annotations

from collections.abc import Iterator

from maestro_solver.heuristics.keeping import kept_longest
from maestro_solver.instance import GridOption
from maestro_solver.schedule import Resident, Schedule, Span
from maestro_solver.search.layout import Layout
from maestro_solver.shop.data import FAR, NOT_PLACED, Timeline
from maestro_solver.shop.rows import END, INITIAL, LOAD_START, NEXT, NO_ROW, READY


def schedule_of(layout: Layout, line: Timeline) -> Schedule:
    """The schedule of a timeline; what is not placed on it has its obstacle as the reason."""
    options: dict[int, GridOption] = {}
    spans: dict[int, Span] = {}
    for stage, position in enumerate(layout.positions.tolist()):
        option = int(line.option[stage])
        if option == NOT_PLACED:
            continue
        spans[position] = Span(int(line.start[stage]), int(line.end[stage]))
        if option >= 0:
            options[position] = layout.option(stage, option)
    unplaced = {
        position: stage.obstacle for position, stage in enumerate(layout.instance.stages) if stage.obstacle is not None
    }
    residents = kept_longest(layout.instance, [*_unchanged(layout), *_rows(layout, line)], options, spans)
    return Schedule(options, spans, residents, unplaced)


def _unchanged(layout: Layout) -> Iterator[Resident]:
    """The replicas that the shop leaves as they are; what drains leaves once it is idle."""
    for position in layout.replicas.left_out:
        found = layout.instance.replicas[position]
        end = max(found.ready, found.busy_until) if found.draining else None
        yield Resident(found.accelerator, found.model, 0, found.ready, end, position)


def _rows(layout: Layout, line: Timeline) -> Iterator[Resident]:
    accelerators, models = line.first_row.shape
    for g in range(accelerators):
        for m in range(models):
            row = int(line.first_row[g, m])
            while row != NO_ROW:
                begin, ready, end = (int(line.rows[row, column]) for column in (LOAD_START, READY, END))
                replica = layout.replicas.position_of[g, m] if line.rows[row, INITIAL] else None
                yield Resident(g, m, begin, ready, None if end >= FAR else end, replica)
                row = int(line.rows[row, NEXT])
