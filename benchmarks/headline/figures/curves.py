"""Deadlines met by the planner against something it is given: a limit, or an error of its forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.headline.figures.figure import Figure, Picture, Table
from benchmarks.headline.figures.measures import number, overflowed, plans, shown
from benchmarks.headline.figures.style import COLOURS, canvas
from benchmarks.headline.grid import HIGH
from benchmarks.headline.running.cells import Cells, attained
from maestro_services.simulation.policies import LENGTH_FACTORS, LIMITS_S


def _figure(name: str, title: str, about: str, label: str, settings: Mapping[str, float]) -> Figure:
    """A figure of the policies in ``settings`` against their numbers, with EDF as a line across."""

    def tables(cells: Cells) -> list[Table]:
        rows = []
        for place in cells.places:
            for policy, cell in cells.at(place).items():
                value = f"{settings[policy]:g}" if policy in settings else policy
                counts = [f"{cell.interval(number(what)).mean:.1f}" for what in ("solver_cpu_s", "cold_starts")]
                overflow = f"{cell.interval(overflowed).mean:.1f}"
                made = f"{cell.interval(plans).mean:.0f}"
                rows.append((*place, value, shown(cell.interval(attained)), made, *counts, overflow))
        headings = ("fleet", "workload", "load", label, "in time, %", "plans", "planning, s", "loads", "overflow, %")
        return [Table(headings, tuple(rows))]

    def pictures(cells: Cells) -> Iterator[Picture]:
        for place in cells.places:
            at = cells.at(place)
            known = [policy for policy in settings if policy in at]
            found = [at[policy].interval(attained) for policy in known]
            values = [settings[policy] for policy in known]
            made, (axes,) = canvas(6.4, 3.4)
            axes.plot(values, [each.mean for each in found], "o-", color=COLOURS["planner"], label="planner")
            low, high = [each.low for each in found], [each.high for each in found]
            axes.fill_between(values, low, high, color=COLOURS["planner"], alpha=0.15, linewidth=0)
            if "edf" in at:
                edf = at["edf"].interval(attained).mean
                axes.axhline(edf, color=COLOURS["edf"], linestyle=(0, (2.5, 1.2)), linewidth=1.3, label="edf")
            axes.set_xscale("log")
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
            axes.set(xlabel=label, ylabel="workflows in time, %", ylim=(0, 102))
            axes.set_title(", ".join((*place[:2], f"load {place[2]}")), loc="left")
            axes.grid(visible=True)
            axes.legend(loc="lower right")
            yield Picture(f"{name}-{'-'.join(place)}", made)

    return Figure(name, title, about, (*settings, "edf"), tables, pictures, loads=(HIGH,))


LIMITS = _figure(
    "limits",
    "Solver limits",
    "Deadlines met at high contention against the limit of a plan. A plan counts as coming after its whole limit, so "
    "that a long one is made of what was known long ago; the solver's time is deterministic.",
    "limit of a plan, s",
    {f"planner-limit-{limit_s:g}": limit_s for limit_s in LIMITS_S},
)

MISPREDICTIONS = _figure(
    "mispredictions",
    "Mispredicted lengths",
    "Deadlines met at high contention where every forecast of an output's length is off by a factor, its quantiles "
    "and so the memory reserved included. The predictor learns as usual and does not notice.",
    "forecast by true length",
    {
        ("planner" if factor == 1.0 else f"planner-lengths-x{factor:g}"): factor
        for factor in sorted((*LENGTH_FACTORS, 1.0))
    },
)
