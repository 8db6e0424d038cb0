"""What the policies cost: planning, loads, and work done."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.headline.figures.attainment import ATTAINMENT
from benchmarks.headline.figures.bars import draw_bars
from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import changes_a_plan, number, plans, shown
from benchmarks.headline.figures.style import canvas
from benchmarks.headline.running.cells import Cells, attained

throughput = number("throughput_tokens_per_s")
loading = number("load_s")


def _tables(cells: Cells) -> list[Table]:
    rows = []
    for place in cells.places:
        at = cells.at(place)
        most = max(cell.interval(throughput).mean for cell in at.values())
        for name, cell in at.items():
            lost = 100.0 * (1.0 - cell.interval(throughput).mean / most) if most > 0.0 else 0.0
            means = [cell.interval(what).mean for what in (number("solver_cpu_s"), plans, changes_a_plan)]
            planning = (f"{means[0]:.0f}", f"{means[1]:.0f}", f"{means[2]:.2f}") if means[1] else ("", "", "")
            counts = [f"{cell.interval(number(what)).mean:.1f}" for what in ("cold_starts", "swaps")]
            seconds = f"{cell.interval(loading).mean:.0f}"
            rows.append((*place, name, *planning, *counts, seconds, shown(cell.interval(throughput)), f"{lost:.1f}"))
    headings = (
        "fleet",
        "workload",
        "load",
        "policy",
        "planning, s",
        "plans",
        "changes a plan",
        "loads",
        "evictions",
        "loading, s",
        "tokens a second",
        "lost, %",
    )
    return [Table(headings, tuple(rows))]


def _pictures(cells: Cells) -> Iterator[Picture]:
    for place in cells.places:
        found = list(cells.at(place).values())
        made, axes = canvas(10.0, 1.0 + 0.33 * len(found), columns=3)
        for each, (measure, label) in zip(axes, _MEASURES, strict=True):
            draw_bars(each, found, measure, {})
            each.set_xlabel(label)
        for each in axes[1:]:
            each.set_yticklabels([])
        axes[0].set_title(", ".join((*place[:2], f"load {place[2]}")), loc="left")
        yield Picture(f"cost-{'-'.join(place)}", made)


_MEASURES = (
    (number("cold_starts"), "models loaded"),
    (throughput, "tokens a second"),
    (attained, "workflows in time, %"),
)

COST = Figure(
    name="cost",
    title="Cost of the policies",
    about=(
        "Seconds charged for planning (deterministic time; a plan costs its whole limit), plans that came into force "
        "and how many loads and evictions each brought, models loaded and evicted, seconds spent loading, tokens "
        "served a second, and how much that is below the most that any policy served."
    ),
    policies=ATTAINMENT.policies,
    tables=_tables,
    pictures=_pictures,
)
