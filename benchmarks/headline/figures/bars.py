"""Bars of a measure, policy by policy, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes

from benchmarks.headline.figures.figure import Picture
from benchmarks.headline.figures.style import INK, canvas, colour_of
from benchmarks.headline.running.cells import Cell, Cells, Measure


def bars(cells: Cells, measure: Measure, label: str, prefix: str, names: Mapping[str, str]) -> Iterator[Picture]:
    """A picture for each place. ``names`` says what a policy is called; those it leaves out keep their own name."""
    for place in cells.places:
        at = cells.at(place)
        made, (axes,) = canvas(7.2, 0.9 + 0.34 * len(at))
        draw_bars(axes, list(at.values()), measure, names)
        axes.set_xlabel(label)
        axes.set_title(", ".join((*place[:2], f"load {place[2]}")), loc="left")
        yield Picture(f"{prefix}-{'-'.join(place)}", made)


def draw_bars(axes: Axes, cells: Sequence[Cell], measure: Measure, names: Mapping[str, str]) -> None:
    """A bar for every cell, the first at the top, its mean in figures beside it."""
    found = [cell.interval(measure) for cell in cells]
    means = [each.mean for each in found]
    errors = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
    rows = range(len(cells))
    colours = [colour_of(cell.policy) for cell in cells]
    axes.barh(rows, means, xerr=errors, color=colours, alpha=0.85, height=0.66, ecolor=INK, capsize=2)
    axes.set_yticks(rows, [names.get(cell.policy, cell.policy) for cell in cells])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(1e-9, *(each.high for each in found)))
    for row, each in zip(rows, found, strict=True):
        text = f"{each.mean:.1f}" if each.mean < 100 else f"{each.mean:.0f}"
        axes.annotate(text, (each.high, row), xytext=(5, 0), textcoords="offset points", va="center")
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
