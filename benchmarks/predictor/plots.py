"""Draws how reliable forecasts are, and their error by role.

    python benchmarks/predictor/plots.py --trace validation/*.jsonl.gz --out docs/figures

Uses the artefact that ships with Maestro, and does not learn on. Needs matplotlib. Writes SVG, the same for the same
forecasts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from maestro.trace import read_traces
from maestro_solver.predictor.evaluation.replay import SHARES, ReplayedCall, replayed
from maestro_solver.predictor.stage_predictor import StagePredictor

mpl.use("Agg")

from matplotlib import pyplot as plt

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "maestro", "font.size": 9})

LEAST_CALLS = 50


def by_group(scored: list[ReplayedCall], *, role: bool) -> dict[str, list[ReplayedCall]]:
    """Sort forecasts by app, or by app and role, those with LEAST_CALLS or more, largest first."""
    groups: dict[str, list[ReplayedCall]] = {}
    for one in scored:
        groups.setdefault(f"{one.call.app}, {one.call.role}" if role else one.call.app, []).append(one)
    kept = {name: calls for name, calls in groups.items() if len(calls) >= LEAST_CALLS}
    return dict(sorted(kept.items(), key=lambda pair: -len(pair[1])))


def draw_reliability(scored: list[ReplayedCall], path: Path) -> None:
    """Draw by how many points the share of outputs within each quantile differs from what the quantile says, by app."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    axes.axhspan(-5, 5, color="0.93", label="within 5 points")
    axes.axhline(0, color="grey", linewidth=1)
    for app, calls in by_group(scored, role=False).items():
        lengths = np.array([one.call.completion_tokens for one in calls])
        within = (lengths[:, None] <= np.stack([one.quantiles for one in calls])).mean(axis=0)
        axes.plot(100 * SHARES, 100 * (within - SHARES), marker="o", markersize=3, label=f"{app} ({len(calls):,})")
    axes.set(xlabel="quantile of the forecast, %", ylabel="outputs within it,\npoints more than it says")
    axes.set_title("Reliability on tasks never seen", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, path)


def draw_errors(scored: list[ReplayedCall], path: Path) -> None:
    """Draw the mean absolute error of every (app, role), beside the median length of its outputs."""
    groups = by_group(scored, role=True)
    rows = sorted((error_of(calls), length_of(calls), f"{name} ({len(calls):,})") for name, calls in groups.items())
    figure, axes = plt.subplots(figsize=(7, 0.28 * len(rows) + 0.9))
    places = np.arange(len(rows))
    axes.barh(places, [error for error, _, _ in rows], height=0.6, label="mean absolute error")
    axes.plot([length for _, length, _ in rows], places, "k|", markersize=9, label="median output")
    axes.set_yticks(places, [name for _, _, name in rows])
    axes.set(xlabel="tokens")
    axes.set_title("Error by role on tasks never seen", loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def error_of(calls: list[ReplayedCall]) -> float:
    """Return the mean absolute error of the point forecasts, tokens."""
    return float(np.mean([abs(one.p50_tokens - one.call.completion_tokens) for one in calls]))


def length_of(calls: list[ReplayedCall]) -> float:
    """Return the median output, tokens."""
    return float(np.median([one.call.completion_tokens for one in calls]))


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as SVG, without the date."""
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    """Forecast and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scored = list(replayed(read_traces(arguments.trace), StagePredictor.load(), online=False))
    draw_reliability(scored, arguments.out / "predictor_reliability.svg")
    draw_errors(scored, arguments.out / "predictor_error_by_role.svg")


if __name__ == "__main__":
    main()
