"""Records one run of each of two policies and draws it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.headline.figures.figure import Picture
from benchmarks.headline.grid import HIGH, Grid, points_of
from benchmarks.headline.timeline.gantt import Span, gantt
from benchmarks.headline.timeline.memory_map import memory_map
from benchmarks.headline.timeline.record import read_record
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.recorder import Recorder

NAME = "timeline"
TITLE = "A run over time"
ABOUT = (
    "One run at high contention, the same arrivals under the planner and under EDF. The Gantt charts show two minutes "
    "from its middle: each bar is a call in an engine's batch, pale where its workflow ends late. The memory maps show "
    "the whole run: what weights, engines and KV caches take of every accelerator."
)
POLICIES = ("planner", "edf")
WINDOW_S = 120.0


def pictures(grid: Grid, cache: Path) -> Iterator[Picture]:
    """A Gantt chart and a memory map for each policy, of the grid's first fleet, workload and seed."""
    point = points_of(replace(grid, loads=(HIGH,)))[0]
    experiment = replace(point.base, rate_per_s=point.rate_per_s(cache))
    middle_s = grid.duration_s / 2
    for policy in POLICIES:
        sink = io.StringIO()
        run(experiment, policy_named(policy), grid.seeds[0], recorder=Recorder(sink))
        record = read_record(sink.getvalue().splitlines())
        where = f"{policy}: {point.scenario}, {point.workload}, load high, seed {grid.seeds[0]}"
        yield Picture(f"gantt-{policy}", gantt(record, Span(middle_s, middle_s + WINDOW_S), where))
        yield Picture(f"memory-map-{policy}", memory_map(record, Span(0.0, grid.duration_s), where))
