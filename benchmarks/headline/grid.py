"""Which fleets, workloads, loads, policies and seeds a figure is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from maestro.scenario import Scenario, load
from maestro.trace import read_trace
from maestro_services.simulation.contention import HIGH_ATTAINMENT, NOMINAL_ATTAINMENT, OnStep, known_rate, rate_at
from maestro_services.simulation.experiment import Experiment
from maestro_services.simulation.workload.families import FAMILIES, family
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.workload.template import Template, templates_of
from maestro_services.simulation.world import Window

SCENARIOS = Path(__file__).parents[2] / "scenarios"

BASELINES = ("fcfs", "edf", "llf", "srpt", "wspt", "plas", "kairos", "hierarchical", "lru-swap")

HIGH = "high"
"""The load at which EDF attains half."""

ALONE = "planner-alone"
"""The planner on a fleet where no two models fit one accelerator."""


@dataclass(frozen=True, slots=True)
class Grid:
    """``loads``: multiples of the nominal contention, or ``high``; ``workloads``: families or trace files.

    ``policies`` None: what the figure is about. Plans are ``plan_interval_s`` apart at least.
    """

    name: str
    scenarios: tuple[Path, ...]
    workloads: tuple[str, ...]
    loads: tuple[str, ...]
    seeds: tuple[int, ...]
    duration_s: float
    plan_interval_s: float = 5.0
    policies: tuple[str, ...] | None = None


QUICK = Grid(
    name="quick",
    scenarios=(SCENARIOS / "one_node_4x80gb.yaml",),
    workloads=("agents",),
    loads=("1.0", HIGH, "2.0"),
    seeds=(11, 12, 13),  # weights were tuned on 1 to 3
    duration_s=600.0,
)

NAMED = replace(
    QUICK,
    name="grid",
    scenarios=(SCENARIOS / "one_node_4x80gb.yaml", SCENARIOS / "two_clusters_mixed.yaml"),
    seeds=(11, 12, 13, 14, 15),
    duration_s=1200.0,
)

FULL = replace(
    NAMED,
    name="full",
    scenarios=(*NAMED.scenarios, SCENARIOS / "four_clusters_64.yaml"),
    workloads=("agents", "reviews"),
    loads=("0.6", "0.8", "1.0", "1.3", HIGH, "1.6", "2.0"),
    seeds=tuple(range(11, 21)),
    duration_s=7200.0,
)

FORMS = {grid.name: grid for grid in (QUICK, NAMED, FULL)}


@dataclass(frozen=True, slots=True)
class Point:
    """A fleet under a workload at a load; ``base`` is the experiment at no rate yet."""

    scenario: str
    workload: str
    load: str
    base: Experiment

    def rate_per_s(self, cache: Path, on_step: OnStep | None = None) -> float:
        """Workflows a second; found by bisection where it is not known yet, which takes dozens of runs."""
        attainment, factor = self._contention()
        return factor * rate_at(self.base, attainment, cache, on_step)

    def known_rate_per_s(self, cache: Path) -> float | None:
        """The same, where it is known."""
        attainment, factor = self._contention()
        found = known_rate(self.base, attainment, cache)
        return None if found is None else factor * found

    def _contention(self) -> tuple[float, float]:
        """What EDF attains at the load that is meant, and by how much that is multiplied."""
        return (HIGH_ATTAINMENT, 1.0) if self.load == HIGH else (NOMINAL_ATTAINMENT, float(self.load))


def points_of(grid: Grid) -> list[Point]:
    """All of a grid's, loads of one fleet and workload side by side."""
    found = []
    for file in grid.scenarios:
        scenario = load(file)
        for workload in grid.workloads:
            base = experiment(scenario, workload, grid)
            found += [Point(file.stem, name_of(workload), name, base) for name in grid.loads]
    return found


def experiment(scenario: Scenario, workload: str, grid: Grid) -> Experiment:
    """The experiment of a scenario and a workload, at no rate yet."""
    shapes = shapes_of(workload)
    models_map = spread(shapes, scenario.model_specs)
    return Experiment(scenario, shapes, models_map, None, Window(grid.duration_s), plan_interval_s=grid.plan_interval_s)


def shapes_of(workload: str) -> tuple[Template, ...]:
    """The workflows of a family, or of a trace."""
    return family(workload) if workload in FAMILIES else templates_of(read_trace(Path(workload)))


def name_of(workload: str) -> str:
    """A family's name, or a trace file's without its endings."""
    return workload if workload in FAMILIES else Path(workload).name.partition(".")[0]


def alone(scenario: Scenario) -> Scenario:
    """The same fleet, with engines that take so much memory besides that no two fit one accelerator.

    Only for fleets of one kind of accelerator: what keeps models apart on a large one would not fit a small one.
    """
    fleet = scenario.fleet_spec()
    memory = min(
        accelerator.memory_bytes
        for cluster in fleet.clusters
        for node in cluster.nodes
        for accelerator in node.accelerators
    )
    models = []
    for section, spec in zip(scenario.models, scenario.model_specs.values(), strict=True):
        missing = max(0, memory // 2 + 1 - spec.fixed_bytes - spec.kv_pool_bytes)
        models.append(section.model_copy(update={"overhead_bytes": section.overhead_bytes + missing}))
    sections = {name: getattr(scenario, name) for name in Scenario.model_fields}
    return Scenario.model_construct(**sections | {"models": tuple(models)})  # a copy would keep what was derived
