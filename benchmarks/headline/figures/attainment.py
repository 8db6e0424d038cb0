"""Deadlines met against load, all policies."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes

from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import shown
from benchmarks.headline.figures.style import LINES, canvas, colour_of
from benchmarks.headline.grid import BASELINES
from benchmarks.headline.running.cells import Cell, Cells, attained

REFERENCE = "edf"
MAIN = "planner"


def _tables(cells: Cells) -> list[Table]:
    return [*(_by_load(cells, *setting) for setting in cells.settings), _goals(cells)]


def _by_load(cells: Cells, scenario: str, workload: str) -> Table:
    """Policies by loads; the heading names the fleet."""
    places = [place for place in cells.places if place[:2] == (scenario, workload)]
    found = [cells.at(place) for place in places]
    headings = [
        f"{place[2]} ({next(iter(at.values())).rate_per_s:.3f}/s)" for place, at in zip(places, found, strict=True)
    ]
    rows = tuple(
        (policy, *(shown(at[policy].interval(attained)) if policy in at else "" for at in found))
        for policy in cells.policies
        if any(policy in at for at in found)
    )
    return Table((f"{scenario}, {workload}", *headings), rows)


def _goals(cells: Cells) -> Table:
    """The planner against EDF and against the best of the other baselines, seed by seed."""
    rows = []
    for place in cells.places:
        at = cells.at(place)
        others = {name: at[name] for name in BASELINES if name in at}
        if MAIN not in at or not others:
            continue
        best = max(others, key=lambda name: others[name].interval(attained).mean)
        to_edf = at[MAIN].above(others[REFERENCE], attained) if REFERENCE in others else None
        to_best = at[MAIN].above(others[best], attained)
        seeds = str(len(at[MAIN].kept))
        rows.append((*place, shown(to_edf, signed=True), best, shown(to_best, signed=True), seeds))
    headings = ("fleet", "workload", "load", "planner - edf", "best baseline", "planner - best", "seeds")
    return Table(headings, tuple(rows))


def _pictures(cells: Cells) -> Iterator[Picture]:
    """For each fleet and workload the curves, and beside them what the planner is above each policy."""
    for scenario, workload in cells.settings:
        made, (axes,) = canvas(7.2, 4.2)
        _curves(axes, cells, scenario, workload)
        axes.set_title(f"{scenario}, {workload}", loc="left")
        yield Picture(f"attainment-{scenario}-{workload}", made)


def _curves(axes: Axes, cells: Cells, scenario: str, workload: str) -> None:
    ends: dict[str, float] = {}
    for policy in cells.policies:
        own = cells.of(scenario, workload, policy)
        if own:
            ends[policy] = _curve(axes, policy, own)
    rates = {cell.rate_per_s: cell.load for cell in cells.all if (cell.scenario, cell.workload) == (scenario, workload)}
    axes.set_xticks(sorted(rates), [f"{rates[rate]}\n{rate:.2f}" for rate in sorted(rates)])
    axes.set(xlabel="load, and workflows per second", ylabel="workflows in time, %", ylim=(0, 102))
    axes.grid(visible=True)
    handles = {line.get_label(): line for line in axes.get_lines()}
    ordered = sorted(ends, key=lambda policy: -ends[policy])
    axes.legend([handles[policy] for policy in ordered], ordered, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _curve(axes: Axes, policy: str, own: list[Cell]) -> float:
    """Draws one policy; the value at its highest load."""
    rates = [cell.rate_per_s for cell in own]
    found = [cell.interval(attained) for cell in own]
    means = [each.mean for each in found]
    axes.plot(
        rates,
        means,
        marker="o",
        markersize=3.5,
        label=policy,
        color=colour_of(policy),
        linewidth=2.6 if policy == MAIN else 1.3,
        linestyle=LINES.get(policy, (0, (2.5, 1.2))),
        zorder=3 if policy == MAIN else 2,
    )
    if policy in (MAIN, REFERENCE):  # intervals of all would hide each other; the table has them
        low, high = [each.low for each in found], [each.high for each in found]
        axes.fill_between(rates, low, high, color=colour_of(policy), alpha=0.15, linewidth=0)
    return means[-1]


ATTAINMENT = Figure(
    name="attainment",
    title="Deadlines met against load",
    about=(
        "Per cent of workflows that end by their deadline, mean over seeds with its 95 % bootstrap interval (drawn for "
        "the planner and EDF). Load 1.0 is where EDF attains 90 %, high where it attains half. Differences are taken "
        "seed by seed; urgency is the planner's order of stages without its plans."
    ),
    policies=(*BASELINES, "urgency", "planner", "oracle"),
    tables=_tables,
    pictures=_pictures,
)
