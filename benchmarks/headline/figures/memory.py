"""KV memory reserved for the same work, and what reserving less costs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.headline.figures.bars import draw_bars
from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import (
    number,
    overflowed,
    reserved_for_a_million,
    shown,
    used_for_a_million,
)
from benchmarks.headline.figures.style import canvas
from benchmarks.headline.running.cells import Cell, Cells, attained
from benchmarks.headline.statistics import interval

WHOLE = "planner-reserves-8192"
NAMES = {
    "planner-reserves-8192": "8,192 tokens a call",
    "planner-reserves-4096-more": "prompt + 4,096 tokens",
    "planner": "prompt + predicted p95",
    "planner-reserves-x1.3": "prompt + 1.3 x p95",
    "planner-reserves-x1.6": "prompt + 1.6 x p95",
    "planner-reserves-x2": "prompt + 2 x p95",
    "planner-true-lengths": "prompt + true length",
}


def _tables(cells: Cells) -> list[Table]:
    rows = []
    for place in cells.places:
        at = cells.at(place)
        rows += [(*place, NAMES.get(name, name), *_row(cell, at.get(WHOLE))) for name, cell in at.items()]
    headings = (
        "fleet",
        "workload",
        "load",
        "reserves",
        "GiB s reserved",
        "against 8,192",
        "GiB s used",
        "overflow, %",
        "preemptions",
        "loads",
        "evictions",
        "in time, %",
    )
    return [Table(headings, tuple(rows))]


def _row(cell: Cell, whole: Cell | None) -> tuple[str, ...]:
    return (
        shown(cell.interval(reserved_for_a_million)),
        _saved(cell, whole),
        f"{cell.interval(used_for_a_million).mean:.1f}",
        f"{cell.interval(overflowed).mean:.1f}",
        *(f"{cell.interval(number(name)).mean:.1f}" for name in ("preemptions", "cold_starts", "swaps")),
        shown(cell.interval(attained)),
    )


def _saved(cell: Cell, whole: Cell | None) -> str:
    """How much less is reserved than with 8,192 tokens a call, per cent, seed by seed."""
    if whole is None:
        return ""
    own, others = cell.by_seed(reserved_for_a_million), whole.by_seed(reserved_for_a_million)
    shares = [100.0 * (own[seed] / others[seed] - 1.0) for seed in own if seed in others]
    return f"{interval(shares).mean:+.1f} %" if shares else ""


def _pictures(cells: Cells) -> Iterator[Picture]:
    for place in cells.places:
        found = list(cells.at(place).values())
        made, (left, right) = canvas(9.0, 1.0 + 0.36 * len(found), columns=2)
        draw_bars(left, found, reserved_for_a_million, NAMES)
        left.set_xlabel("GiB s reserved for a million tokens")
        draw_bars(right, found, overflowed, NAMES)
        right.set_xlabel("calls that outgrow it, %")
        right.set_yticklabels([])
        left.set_title(", ".join((*place[:2], f"load {place[2]}")), loc="left")
        yield Picture(f"memory-{'-'.join(place)}", made)


MEMORY = Figure(
    name="memory",
    title="KV memory reserved",
    about=(
        "The integral of reserved KV memory over time for a million tokens served, by the planner with seven rules of "
        "reserving. Beside it what the rule costs: calls that outgrow their reservation, requests that engines "
        "preempt, models loaded and evicted, deadlines met. Calls longer than 8,192 tokens keep their prediction."
    ),
    policies=tuple(NAMES),
    tables=_tables,
    pictures=_pictures,
    loads=("1.0", "high"),
)
