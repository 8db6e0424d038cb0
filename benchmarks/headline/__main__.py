"""Attainment against load, all policies: ``python -m benchmarks.headline --quick``.

Without ``--quick`` the named sub-grid (hours). Results, table and plots go to ``--out``;
what is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.headline.grid import BASELINES, HIGH, Cell, Grid, run_grid
from benchmarks.headline.report import plot, table, write_json
from benchmarks.headline.statistics import interval

SCENARIOS = Path(__file__).parents[2] / "scenarios"

QUICK = Grid(
    scenarios=(SCENARIOS / "one_node_4x80gb.yaml",),
    workloads=("agents",),
    loads=("1.0", HIGH, "2.0"),
    policies=(*BASELINES, "planner"),
    seeds=(11, 12, 13),  # weights were tuned on 1 to 3
    duration_s=600.0,
    plan_interval_s=5.0,
)

NAMED = replace(
    QUICK,
    scenarios=(SCENARIOS / "one_node_4x80gb.yaml", SCENARIOS / "two_clusters_mixed.yaml"),
    workloads=("agents", "reviews"),
    policies=(*BASELINES, "planner", "oracle"),
    seeds=(11, 12, 13, 14, 15),
    duration_s=3600.0,
)


def main() -> None:
    """Run, report, plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one fleet, one workload, three seeds")
    parser.add_argument("--out", type=Path, default=Path(".maestro/headline"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--workload", action="append", help="a family or a trace, in place of the grid's")
    parser.add_argument("--policy", action="append", help="in place of the grid's; EDF is always there")
    parser.add_argument("--load", action="append", help="in place of the grid's: a multiple, or high")
    parser.add_argument("--duration", type=float, help="seconds in which workflows arrive")
    parser.add_argument("--seeds", type=int, help="so many seeds, from 11 on")
    arguments = parser.parse_args()
    cells = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    for cell in run_grid(_grid(arguments), arguments.out, arguments.jobs):
        cells.append(cell)
        _tell(cell)
    write_json(cells, arguments.out / "cells.json")
    (arguments.out / "table.md").write_text(table(cells) + "\n")
    print(table(cells))
    print(*plot(cells, arguments.out), sep="\n")


def _grid(arguments: argparse.Namespace) -> Grid:
    grid = QUICK if arguments.quick else NAMED
    if arguments.workload:
        grid = replace(grid, workloads=tuple(arguments.workload))
    if arguments.policy:
        grid = replace(grid, policies=tuple(dict.fromkeys(("edf", *arguments.policy))))
    if arguments.load:
        grid = replace(grid, loads=tuple(arguments.load))
    if arguments.duration:
        grid = replace(grid, duration_s=arguments.duration)
    if arguments.seeds:
        grid = replace(grid, seeds=tuple(range(11, arguments.seeds + 11)))
    return grid


def _tell(cell: Cell) -> None:
    found = interval(cell.attainment)
    speed = sum(float(result["stages_per_s"]) for result in cell.results) / len(cell.results)
    sys.stderr.write(
        f"{cell.scenario} {cell.workload} {cell.load} ({cell.rate_per_s:.3f}/s) {cell.policy}: "
        f"{100 * found.mean:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}], {speed:.0f} stages/s\n"
    )


if __name__ == "__main__":
    main()
