"""A table, a JSON file and plots of the cells of a grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.headline.grid import Cell
from benchmarks.headline.statistics import interval, paired_difference

REFERENCE = "edf"


def write_json(cells: Sequence[Cell], file: Path) -> None:
    """All cells with intervals and the difference to EDF, seed by seed."""
    file.write_text(json.dumps([_summary(cell, cells) for cell in cells], indent=1) + "\n")


def table(cells: Sequence[Cell]) -> str:
    """A table in Markdown: attainment in percent with its 95 % interval, and the difference to EDF in points."""
    lines = [
        "| scenario | workload | load | policy | attained | against EDF | KV GiB s | overflow | loads | solver s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        found = interval(cell.attainment)
        other = _reference(cell, cells)
        against = paired_difference(cell.attainment, other.attainment) if other else None
        difference = (
            f"{100 * against.mean:+.1f} [{100 * against.low:+.1f}, {100 * against.high:+.1f}]" if against else ""
        )
        lines.append(
            f"| {cell.scenario} | {cell.workload} | {cell.load} | {cell.policy} "
            f"| {100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}] | {difference} "
            f"| {_mean(cell, 'kv_reserved_gib_s'):.0f} | {100 * _mean(cell, 'overflow_rate'):.1f} % "
            f"| {_mean(cell, 'cold_starts'):.1f} | {_mean(cell, 'solver_cpu_s'):.0f} |"
        )
    return "\n".join(lines)


def plot(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """A figure for each fleet and workload: attainment against the arrival rate, with intervals."""
    files = []
    for scenario, workload in dict.fromkeys((cell.scenario, cell.workload) for cell in cells):
        members = [cell for cell in cells if (cell.scenario, cell.workload) == (scenario, workload)]
        file = folder / f"attainment-{scenario}-{workload}.png"
        _curves(members, f"{scenario}, {workload}", file)
        files.append(file)
    return files


def _curves(cells: Sequence[Cell], title: str, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5))
    colours = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
    for index, policy in enumerate(dict.fromkeys(cell.policy for cell in cells)):
        own = sorted((cell for cell in cells if cell.policy == policy), key=lambda cell: cell.rate_per_s)
        rates = [cell.rate_per_s for cell in own]
        found = [interval(cell.attainment) for cell in own]
        bold = policy.startswith("planner")
        axes.plot(
            rates,
            [100 * each.mean for each in found],
            marker="o",
            markersize=4,
            label=policy,
            color=colours[index % len(colours)],
            linewidth=2.5 if bold else 1.2,
            linestyle="-" if bold else "--",
        )
        axes.fill_between(
            rates,
            [100 * each.low for each in found],
            [100 * each.high for each in found],
            color=colours[index % len(colours)],
            alpha=0.12,
        )
    axes.set(title=title, xlabel="workflows per second", ylabel="in time, %", ylim=(0, 101))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncol=2)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _summary(cell: Cell, cells: Sequence[Cell]) -> dict[str, object]:
    other = _reference(cell, cells)
    found = interval(cell.attainment)
    against = paired_difference(cell.attainment, other.attainment) if other else None
    return {
        "scenario": cell.scenario,
        "workload": cell.workload,
        "load": cell.load,
        "rate_per_s": cell.rate_per_s,
        "policy": cell.policy,
        "attainment": {"mean": found.mean, "low": found.low, "high": found.high},
        "against_edf": {"mean": against.mean, "low": against.low, "high": against.high} if against else None,
        "seeds": cell.results,
    }


def _reference(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    place = (cell.scenario, cell.workload, cell.load, REFERENCE)
    return next((c for c in cells if (c.scenario, c.workload, c.load, c.policy) == place), None)


def _mean(cell: Cell, name: str) -> float:
    return sum(float(result[name]) for result in cell.results) / len(cell.results)
