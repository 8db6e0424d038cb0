"""A headline figure by one command: ``python -m benchmarks.headline attainment --quick``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.headline.figures.ablations import ABLATIONS
from benchmarks.headline.figures.attainment import ATTAINMENT
from benchmarks.headline.figures.cost import COST
from benchmarks.headline.figures.curves import LIMITS, MISPREDICTIONS
from benchmarks.headline.figures.figure import Figure
from benchmarks.headline.figures.memory import MEMORY
from benchmarks.headline.figures.oracle import ORACLE
from benchmarks.headline.figures.style import set_up
from benchmarks.headline.grid import FORMS, Grid
from benchmarks.headline.output.progress import progress
from benchmarks.headline.output.report import write_report
from benchmarks.headline.output.written import Origin, origin, write
from benchmarks.headline.running.kept import KeptResults, code_version
from benchmarks.headline.running.runs import run_grid
from benchmarks.headline.timeline import pictures as timeline
from maestro.errors import MaestroError

FIGURES = {figure.name: figure for figure in (ATTAINMENT, ORACLE, ABLATIONS, MEMORY, LIMITS, MISPREDICTIONS, COST)}
ALL, REPORT = "all", "report"


def main(words: Sequence[str]) -> int:
    """Runs what is missing and writes the figures; 1 where the input is wrong."""
    arguments = _parser().parse_args(words)
    command = " ".join(("python -m benchmarks.headline", *words))
    try:
        _make(arguments, command)
    except (MaestroError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130
    return 0


def _make(arguments: argparse.Namespace, command: str) -> None:
    set_up()
    grid = grid_of(arguments)
    made_by = origin(command, grid.name, code_version())
    kept = KeptResults(arguments.out / "runs", code_version(), any_code=arguments.any_code)
    wanted = [*FIGURES, timeline.NAME] if arguments.figure == ALL else [arguments.figure]
    for name in wanted:
        folder = arguments.out / f"{name}-{grid.name}"
        if name in FIGURES:
            _make_figure(FIGURES[name], grid, arguments, kept, made_by, folder)
        elif name == timeline.NAME:
            drawn = timeline.pictures(grid, arguments.out / "contention")
            write(folder, name=name, title=timeline.TITLE, about=timeline.ABOUT, made_by=made_by, pictures=drawn)
    print(write_report(arguments.out, grid.name))


def _make_figure(
    figure: Figure, grid: Grid, arguments: argparse.Namespace, kept: KeptResults, made_by: Origin, folder: Path
) -> None:
    loads = tuple(arguments.load or figure.loads or grid.loads)
    policies = grid.policies or figure.policies
    with progress(figure.name) as told:
        cells = run_grid(
            replace(grid, loads=loads),
            policies,
            arguments.out,
            kept,
            jobs=arguments.jobs,
            only_known=arguments.only_known,
            say=told.say,
            advance=told.advance,
        )
    if not cells.all:
        print(f"{figure.title}: no results yet")
        return
    tables = figure.tables(cells)
    write(
        folder,
        name=figure.name,
        title=figure.title,
        about=figure.about,
        made_by=made_by,
        pictures=figure.pictures(cells),
        tables=tables,
        cells=cells,
    )
    print(f"{figure.title} ({folder})\n")
    print(*(table.markdown() for table in tables), sep="\n\n", end="\n\n")


def grid_of(arguments: argparse.Namespace) -> Grid:
    """The form that was asked for, with what the command line changes of it."""
    grid = FORMS[arguments.form]
    workloads = tuple(arguments.workload or grid.workloads) + tuple(str(path) for path in arguments.trace)
    return replace(
        grid,
        scenarios=tuple(arguments.scenario or grid.scenarios),
        workloads=workloads,
        policies=tuple(arguments.policy) if arguments.policy else None,
        duration_s=arguments.duration or grid.duration_s,
        seeds=tuple(range(11, 11 + arguments.seeds)) if arguments.seeds else grid.seeds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.headline", description=__doc__)
    parser.add_argument(
        "figure", choices=(*FIGURES, timeline.NAME, ALL, REPORT), help="report: the page of what is there already"
    )
    form = parser.add_mutually_exclusive_group()
    for name, about in _FORMS_ABOUT.items():
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=about)
    parser.set_defaults(form="quick")
    parser.add_argument(
        "--out", type=Path, default=Path(".maestro/headline"), help="where results and figures are kept"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", type=Path, action="append", default=[], help="a trace file, beside the workloads")
    parser.add_argument("--workload", action="append", help="a family, in place of the form's")
    parser.add_argument("--scenario", type=Path, action="append", help="a scenario file, in place of the form's")
    parser.add_argument("--policy", action="append", help="in place of the figure's")
    parser.add_argument("--load", action="append", help="in place of the figure's: a multiple, or high")
    parser.add_argument("--duration", type=float, help="seconds in which workflows arrive")
    parser.add_argument("--seeds", type=int, help="so many seeds, from 11 on")
    parser.add_argument("--any-code", action="store_true", help="take results that other versions of the code gave")
    parser.add_argument("--only-known", action="store_true", help="run nothing: draw what results there are")
    return parser


_FORMS_ABOUT = {
    "quick": "minutes: one fleet, one workload, three seeds (the default)",
    "grid": "hours: two fleets, five seeds; give a trace as the second workload",
    "full": "days: three fleets, two workloads, seven loads, ten seeds",
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
