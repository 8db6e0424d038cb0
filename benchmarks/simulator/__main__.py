"""How far the simulator is off: ``python -m benchmarks.simulator observe|calibrate|replay RUN``.

``observe`` runs a workload with forced lengths on real engines and records it in a folder, ``calibrate`` fits the
performance model to the first part of it, and ``replay`` simulates all of it and compares the rest.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.simulator.calibration import calibrate as fit
from benchmarks.simulator.observing import observe as observe_run
from benchmarks.simulator.replaying import replay as compare
from benchmarks.simulator.run_folder import RunFolder
from benchmarks.simulator.tables import calibration_table, comparison_table
from maestro.errors import InvalidInputError
from maestro_services.cli.group import MaestroGroup
from maestro_services.cli.output import JsonOption, emit, notices

HERE = Path(__file__).parent

app = typer.Typer(cls=MaestroGroup, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
RunArgument = Annotated[Path, typer.Argument(help="The folder of the run.")]


@app.command()
def observe(
    run: RunArgument,
    scenario: Annotated[Path, typer.Option(help="What to run it on.")] = HERE / "two_engines.yaml",
    workflows: Annotated[int, typer.Option(help="Workflows in all.", min=2)] = 120,
    rate: Annotated[float, typer.Option(help="Arrivals a second.", min=0.001)] = 0.25,
    seed: Annotated[int, typer.Option(help="Of the workload.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run a workload on real engines and record it."""
    folder = RunFolder(run)
    if run.exists():
        raise InvalidInputError("run", "is there already", value=str(run), remedy="name a new folder")
    run.mkdir(parents=True)
    folder.write_scenario(scenario)
    with _progress() as progress:
        task = progress.add_task("", total=workflows)
        found = asyncio.run(
            observe_run(
                folder,
                workflows,
                rate,
                seed,
                lambda what, done: progress.update(task, description=what, completed=done),
            )
        )
    loads = ", ".join(f"{load.model} {load.load_s:.1f} s" for load in found.loads)
    emit(found, as_json=as_json, view=f"{workflows} workflows recorded in {run}; loads: {loads}")


@app.command()
def calibrate(
    run: RunArgument,
    share: Annotated[float, typer.Option(help="Of the workflows, the first to arrive.", min=0.05, max=0.95)] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Fit the performance model to the first part of a run; writes calibrated.yaml beside its trace."""
    with _progress() as progress:
        progress.add_task("fitting", total=None)
        found = fit(RunFolder(run), share)
    emit(found, as_json=as_json, view=calibration_table(found))


@app.command()
def replay(
    run: RunArgument,
    against: Annotated[Path | None, typer.Option(help="A second run of the same workload.")] = None,
    seeds: Annotated[int, typer.Option(help="Simulations, each with noise of its own.", min=1)] = 5,
    as_json: JsonOption = False,
) -> None:
    """Simulate a calibrated run and compare the part of it that nothing was fitted to."""
    with _progress() as progress:
        task = progress.add_task("simulating", total=1.0)
        found = compare(
            RunFolder(run),
            RunFolder(against) if against else None,
            seeds,
            lambda share: progress.update(task, completed=share),
        )
    RunFolder(run).write_json("replay.json", found)
    emit(found, as_json=as_json, view=comparison_table(found))


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
    )
    printer = notices()
    return Progress(*columns, console=printer, transient=True, disable=not printer.is_terminal)


if __name__ == "__main__":
    app()
