"""What calibration and replay found, as tables."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table

from benchmarks.simulator.calibration import Calibration
from benchmarks.simulator.measured import LATENCIES, THROUGHPUT

TITLES = {"simulated": "simulated against real", "second_run": "a second real run against the first"}


def calibration_table(found: Calibration) -> RenderableType:
    """The fitted coefficients, a column a model."""
    models = list(found.speeds)
    table = Table("coefficient", *models, title=f"fitted to {found.calls} calls on {found.kind}")
    for name in next(iter(found.speeds.values())):
        shown = "not observed" if name in found.not_observed else None
        table.add_row(name, *(shown or f"{found.speeds[model][name]:.4g}" for model in models))
    for name, value in found.noise.items():
        table.add_row(name, f"{value:.3f}")
    return table


def comparison_table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> RenderableType:
    """The errors by metric, one table for each comparison."""
    return Group(*(_comparison(TITLES[name], figures) for name, figures in found.items()))


def _comparison(title: str, figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table("metric", "mean", "error", "p99", "error", "each: mean error", "p99 error", title=title)
    for name in LATENCIES:
        one = figures[name]
        table.add_row(
            f"{name}, s",
            f"{one['real_mean']:.2f} / {one['other_mean']:.2f}",
            f"{one['mean_error']:.1%}",
            f"{one['real_p99']:.2f} / {one['other_p99']:.2f}",
            f"{one['p99_error']:.1%}",
            f"{one['each_mean']:.1%}",
            f"{one['each_p99']:.1%}",
        )
    throughput = figures[THROUGHPUT]
    shown = f"{throughput['real_mean']:.1f} / {throughput['other_mean']:.1f}"
    table.add_row("output tokens/s", shown, f"{throughput['mean_error']:.1%}")
    return table
