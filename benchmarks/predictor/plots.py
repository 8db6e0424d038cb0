"""Draws how reliable forecasts are, and their error by role.

    python benchmarks/predictor/plots.py --trace validation/*.jsonl.gz --out FOLDER

Uses the artefact that ships with Maestro, and does not learn on. Needs matplotlib.
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


def by_app(scored: list[ReplayedCall]) -> dict[str, list[ReplayedCall]]:
    """Sort forecasts by app, largest first."""
    apps: dict[str, list[ReplayedCall]] = {}
    for one in scored:
        apps.setdefault(one.call.app, []).append(one)
    return dict(sorted(apps.items(), key=lambda pair: -len(pair[1])))


def draw_reliability(scored: list[ReplayedCall], path: Path) -> None:
    """Draw the share of outputs within each quantile, by app, against what the quantile says."""
    figure, axes = plt.subplots(figsize=(5.5, 5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as it says")
    for app, calls in by_app(scored).items():
        lengths = np.array([one.call.completion_tokens for one in calls])
        within = (lengths[:, None] <= np.stack([one.quantiles for one in calls])).mean(axis=0)
        axes.plot(SHARES, within, marker="o", markersize=3, label=f"{app} ({len(calls):,})")
    axes.set(xlabel="quantile", ylabel="share of outputs within it", title="Reliability on tasks never seen")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def draw_errors(scored: list[ReplayedCall], path: Path) -> None:
    """Draw the mean absolute error of every (app, role) with 50 calls or more."""
    roles: dict[str, list[float]] = {}
    for one in scored:
        error = abs(one.p50_tokens - one.call.completion_tokens)
        roles.setdefault(f"{one.call.app}, {one.call.role}", []).append(error)
    kept = sorted(((float(np.mean(e)), role, len(e)) for role, e in roles.items() if len(e) >= 50), reverse=True)
    figure, axes = plt.subplots(figsize=(7, 0.3 * len(kept) + 1))
    axes.barh([f"{role} ({count:,})" for _, role, count in kept], [error for error, _, _ in kept])
    axes.set(xlabel="mean absolute error, tokens", title="Error by role on tasks never seen")
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main() -> None:
    """Forecast and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scored = list(replayed(read_traces(arguments.trace), StagePredictor.load(), online=False))
    draw_reliability(scored, arguments.out / "reliability.png")
    draw_errors(scored, arguments.out / "error_by_role.png")


if __name__ == "__main__":
    main()
