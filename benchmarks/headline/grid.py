"""Which runs make up the headline figures, and their results, kept so that an interrupted sweep resumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maestro.scenario import load
from maestro.trace import read_trace
from maestro_services.simulation.contention import HIGH_ATTAINMENT, NOMINAL_ATTAINMENT, rate_at
from maestro_services.simulation.experiment import Experiment
from maestro_services.simulation.sweep import sweep
from maestro_services.simulation.workload.families import FAMILIES, family
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.workload.template import Template, templates_of
from maestro_services.simulation.world import Window

BASELINES = ("fcfs", "edf", "llf", "srpt", "wspt", "plas", "kairos", "hierarchical", "lru-swap")
HIGH = "high"
"""The load at which EDF attains half."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sub-grid. ``loads`` are multiples of the nominal contention, or ``high``; workloads families or trace files."""

    scenarios: tuple[Path, ...]
    workloads: tuple[str, ...]
    loads: tuple[str, ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    duration_s: float
    plan_interval_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The seeds of one policy at one load."""

    scenario: str
    workload: str
    load: str
    rate_per_s: float
    policy: str
    results: list[dict[str, Any]]

    @property
    def attainment(self) -> list[float]:
        """The share of workflows in time, by seed."""
        return [float(result["attainment"]["overall"]) for result in self.results]


def run_grid(grid: Grid, folder: Path, jobs: int) -> Iterator[Cell]:
    """Runs what is not in ``folder`` yet; cells come out as they are done."""
    for scenario in grid.scenarios:
        for workload in grid.workloads:
            base = experiment(scenario, workload, grid)
            for name in grid.loads:
                rate = _rate(base, name, folder)
                for policy in grid.policies:
                    out = folder / f"{scenario.stem}-{Path(workload).stem}-{name}-{policy}.json"
                    found = sweep(replace(base, rate_per_s=rate), policy, grid.seeds, out=out, jobs=jobs)
                    yield Cell(scenario.stem, Path(workload).stem, name, rate, policy, found["seeds"])


def experiment(scenario_file: Path, workload: str, grid: Grid) -> Experiment:
    """The experiment of a scenario and a workload, at no rate yet."""
    scenario = load(scenario_file)
    shapes = shapes_of(workload)
    window = Window(grid.duration_s)
    models_map = spread(shapes, scenario.model_specs)
    return Experiment(scenario, shapes, models_map, None, window, plan_interval_s=grid.plan_interval_s)


def shapes_of(workload: str) -> tuple[Template, ...]:
    """The workflows of a family, or of a trace."""
    return family(workload) if workload in FAMILIES else templates_of(read_trace(Path(workload)))


def _rate(base: Experiment, name: str, folder: Path) -> float:
    cache = folder / "contention"
    if name == HIGH:
        return rate_at(base, HIGH_ATTAINMENT, cache)
    return float(name) * rate_at(base, NOMINAL_ATTAINMENT, cache)
