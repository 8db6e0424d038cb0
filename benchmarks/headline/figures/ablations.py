"""What the planner attains with one part of it taken away."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.headline.figures.bars import bars
from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import number, overflowed, shown
from benchmarks.headline.grid import ALONE, HIGH
from benchmarks.headline.running.cells import Cells, attained

NAMES = {
    "planner": "planner",
    "planner-true-lengths": "true lengths",
    "planner-no-predictor": "no predictor",
    ALONE: "no co-location",
    "planner-stage-by-stage": "stages revealed one by one",
    "planner-order-edf": "order of EDF",
    "planner-order-wspt": "order of WSPT",
    "urgency": "no CP-SAT: no plans",
    "planner-places-stages": "plans place stages",
    "portfolio-places-stages": "the same, portfolio only",
    "edf": "EDF, for comparison",
}


def _tables(cells: Cells) -> list[Table]:
    rows = []
    for place in cells.places:
        at = cells.at(place)
        whole = at.get("planner")
        for name, cell in at.items():
            above = cell.above(whole, attained) if whole is not None and cell is not whole else None
            counts = [f"{cell.interval(number(what)).mean:.1f}" for what in ("cold_starts", "swaps")]
            overflow = f"{cell.interval(overflowed).mean:.1f}"
            shares = (shown(cell.interval(attained)), shown(above, signed=True))
            rows.append((*place, NAMES.get(name, name), *shares, *counts, overflow))
    headings = (
        "fleet",
        "workload",
        "load",
        "with",
        "in time, %",
        "against the planner",
        "loads",
        "evictions",
        "overflow, %",
    )
    return [Table(headings, tuple(rows))]


def _pictures(cells: Cells) -> Iterator[Picture]:
    return bars(cells, attained, "workflows in time, %", "ablations", NAMES)


ABLATIONS = Figure(
    name="ablations",
    title="Ablations",
    about=(
        "Deadlines met at high contention, the planner with one part changed. No predictor: the scenario's prior for "
        "every call. No co-location: engines too large for two to share an accelerator. Revealed one by one: each "
        "stage is submitted by itself when it can start, with the deadline of its workflow. No plans: models are "
        "loaded by the baselines' rule. Plans that place stages give each its accelerator and turn, which CP-SAT does "
        "or the portfolio of heuristics alone."
    ),
    policies=tuple(NAMES),
    tables=_tables,
    pictures=_pictures,
    loads=(HIGH,),
)
