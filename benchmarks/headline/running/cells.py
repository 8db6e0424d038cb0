"""The runs of one policy at one point, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.headline.running.kept import Kept
from benchmarks.headline.statistics import Interval, interval, paired_difference
from maestro_services.simulation.experiment import Result

Measure = Callable[[Result], float]


@dataclass(slots=True)
class Cell:
    """``kept`` holds the results by seed; while a grid is under way some are missing."""

    scenario: str
    workload: str
    load: str
    rate_per_s: float
    policy: str
    kept: dict[int, Kept] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str]:
        """Fleet, workload and load."""
        return self.scenario, self.workload, self.load

    def by_seed(self, measure: Measure) -> Mapping[int, float]:
        """A measure of every result."""
        return {seed: measure(self.kept[seed].result) for seed in sorted(self.kept)}

    def interval(self, measure: Measure) -> Interval:
        """The measure's mean over the seeds, which must not be none."""
        return interval(list(self.by_seed(measure).values()))

    def above(self, other: Cell, measure: Measure) -> Interval | None:
        """How much the measure is above the other policy's, on the seeds that both have; None where there are none."""
        own, others = self.by_seed(measure), other.by_seed(measure)
        shared = [seed for seed in own if seed in others]
        if not shared:
            return None
        return paired_difference([own[seed] for seed in shared], [others[seed] for seed in shared])


class Cells:
    """All cells of a figure that have a result, in the order in which they were asked for."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        """Cells without a result are left out."""
        self.all = [cell for cell in cells if cell.kept]

    @property
    def places(self) -> list[tuple[str, str, str]]:
        """Every fleet, workload and load."""
        return list(dict.fromkeys(cell.place for cell in self.all))

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Every fleet and workload."""
        return list(dict.fromkeys((cell.scenario, cell.workload) for cell in self.all))

    @property
    def policies(self) -> list[str]:
        """Every policy."""
        return list(dict.fromkeys(cell.policy for cell in self.all))

    def at(self, place: tuple[str, str, str]) -> dict[str, Cell]:
        """The cells of a place, by policy."""
        return {cell.policy: cell for cell in self.all if cell.place == place}

    def of(self, scenario: str, workload: str, policy: str) -> list[Cell]:
        """A policy's cells on a fleet under a workload, by their rate."""
        found = [
            cell for cell in self.all if (cell.scenario, cell.workload, cell.policy) == (scenario, workload, policy)
        ]
        return sorted(found, key=lambda cell: cell.rate_per_s)


def attained(result: Result) -> float:
    """Workflows in time, per cent."""
    return 100.0 * float(result["attainment"]["overall"])
