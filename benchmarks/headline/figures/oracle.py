"""How far each policy goes on the way from EDF to the oracle."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.headline.figures.attainment import ATTAINMENT
from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import shown
from benchmarks.headline.figures.style import INK, canvas, colour_of
from benchmarks.headline.running.cells import Cell, Cells, attained
from benchmarks.headline.statistics import Interval, share_of_way

LEAST_WAY = 3.0
"""Points from EDF to the oracle, at the low end of their interval, below which a share of the way says nothing."""


def _shares(at: dict[str, Cell]) -> dict[str, Interval]:
    """By policy, per cent; empty where EDF or the oracle is missing or there is no way between them."""
    if "edf" not in at or "oracle" not in at:
        return {}
    start, end = at["edf"].by_seed(attained), at["oracle"].by_seed(attained)
    found = {}
    for name, cell in at.items():
        own = cell.by_seed(attained)
        seeds = [seed for seed in own if seed in start and seed in end]
        share = share_of_way(
            [own[seed] for seed in seeds], [start[seed] for seed in seeds], [end[seed] for seed in seeds], LEAST_WAY
        )
        if share is not None and name not in ("edf", "oracle"):
            found[name] = share
    return found


def _tables(cells: Cells) -> list[Table]:
    rows = []
    for place in cells.places:
        at = cells.at(place)
        way = at["oracle"].above(at["edf"], attained) if "edf" in at and "oracle" in at else None
        rows += [(*place, shown(way, signed=True), name, shown(share)) for name, share in _shares(at).items()]
    return [Table(("fleet", "workload", "load", "oracle - edf", "policy", "share of it, %"), tuple(rows))]


def _pictures(cells: Cells) -> Iterator[Picture]:
    for place in cells.places:
        shares = _shares(cells.at(place))
        if not shares:
            continue
        made, (axes,) = canvas(7.2, 0.9 + 0.32 * len(shares))
        ordered = sorted(shares, key=lambda name: -shares[name].mean)
        for row, name in enumerate(ordered):
            share = shares[name]
            axes.plot((share.low, share.high), (row, row), color=colour_of(name), linewidth=2.2, alpha=0.5)
            axes.plot(share.mean, row, "o", color=colour_of(name), markersize=6)
        for at_percent, label in ((0.0, "EDF"), (100.0, "oracle")):
            axes.axvline(at_percent, color=INK, linewidth=0.8)
            axes.annotate(label, (at_percent, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom")
        axes.set_yticks(range(len(ordered)), ordered)
        axes.invert_yaxis()
        axes.set_xlabel("share of the way, %")
        axes.grid(visible=True, axis="x")
        axes.set_title(", ".join((*place[:2], f"load {place[2]}")), loc="left", pad=16)
        yield Picture(f"oracle-{'-'.join(place)}", made)


ORACLE = Figure(
    name="oracle",
    title="Share of the way from EDF to the oracle",
    about=(
        "The oracle is the planner with true lengths and four times the limit: a bound on what knowing lengths brings, "
        "not on what is possible. 0 % is EDF, 100 % the oracle. Left out where the two may be less than 3 points apart."
    ),
    policies=ATTAINMENT.policies,
    tables=_tables,
    pictures=_pictures,
)
