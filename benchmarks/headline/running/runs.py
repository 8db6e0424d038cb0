"""Runs simulations, in this process or in others, in an order that makes a part of the results worth the most."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.headline.grid import ALONE, Grid, Point, alone, points_of
from benchmarks.headline.running.cells import Cell, Cells
from benchmarks.headline.running.kept import KeptResults, Run
from maestro_services.simulation.experiment import Experiment, Result, run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.sweep import fingerprint

Say = Callable[[str], None]
Advance = Callable[[int, int], None]
"""Told how many runs are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Task:
    """A run that is still to be done, and the cell that its result goes to."""

    experiment: Experiment
    run: Run
    cell: Cell


def cells_of(
    grid: Grid, policies: Sequence[str], folder: Path, *, only_known: bool, say: Say
) -> Iterator[tuple[Cell, Experiment]]:
    """The cells of a grid, empty, with their experiments.

    Rates that are not known are searched for first; with ``only_known`` what needs them is left out.
    """
    cache = folder / "contention"
    for point in points_of(grid):
        rate = point.known_rate_per_s(cache)
        if rate is None and only_known:
            continue
        if rate is None:
            rate = point.rate_per_s(cache, partial(_say_searching, say, point))
        at_rate = replace(point.base, rate_per_s=rate)
        for policy in policies:
            tried = replace(at_rate, scenario=alone(at_rate.scenario)) if policy == ALONE else at_rate
            yield Cell(point.scenario, point.workload, point.load, rate, policy), tried


def run_grid(  # noqa: PLR0913 - what to run, where results are, and who is told
    grid: Grid,
    policies: Sequence[str],
    folder: Path,
    kept: KeptResults,
    *,
    jobs: int,
    only_known: bool,
    say: Say,
    advance: Advance,
) -> Cells:
    """The cells with all results; with ``only_known`` nothing is run, and those that are there have to do.

    Seeds come one after the other over the whole grid, so that what is there after a part of the time is a grid of
    fewer seeds. A run that fails is told of and left out.
    """
    cells, tasks = [], []
    for cell, experiment in cells_of(grid, policies, folder, only_known=only_known, say=say):
        cells.append(cell)
        identity = fingerprint(experiment, cell.policy)
        for seed in grid.seeds:
            wanted = Run(identity, cell.policy, seed)
            found = kept.find(wanted)
            if found is not None:
                cell.kept[seed] = found
            else:
                tasks.append(Task(experiment, wanted, cell))
    tasks.sort(key=lambda task: task.run.seed)
    if not only_known:
        for done, (task, result) in enumerate(_results(tasks, jobs), start=1):
            if isinstance(result, Exception):
                say(f"{task.run.policy}, seed {task.run.seed}, {' '.join(task.cell.place)} failed: {result!r}")
            else:
                task.cell.kept[task.run.seed] = kept.keep(task.run, result)
            advance(done, len(tasks))
    return Cells(cells)


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Result | Exception]]:
    if jobs <= 1:
        yield from ((task, _one(task.experiment, task.run.policy, task.run.seed)) for task in tasks)
        return
    waiting = iter(tasks)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[Result | Exception], Task] = {}
        while True:
            for task in islice(waiting, 2 * jobs - len(running)):  # each carries a copy of its workload
                running[pool.submit(_one, task.experiment, task.run.policy, task.run.seed)] = task
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                yield running.pop(future), future.result()


def _one(experiment: Experiment, policy: str, seed: int) -> Result | Exception:
    """A run's result, or why there is none, whatever that is: one failure must not end a sweep of hours."""
    try:
        return run(experiment, policy_named("planner" if policy == ALONE else policy), seed)
    except Exception as error:
        return error


def _say_searching(say: Say, point: Point, rate_per_s: float, share: float) -> None:
    say(f"{point.scenario}, {point.workload}: EDF attains {100 * share:.0f} % at {rate_per_s:.3f}/s")
