"""The predictor's figures beside the goals set for it, with gradient boosting trained in the same run.

    python benchmarks/predictor/goals.py --train train/*.jsonl.gz --validation validation/*.jsonl.gz

Uses the artefact that ships with Maestro, or ``--artefact``. Needs scikit-learn. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from maestro.trace import TraceCall, read_traces
from maestro_solver.predictor.artefact import DEFAULT_FOLDER, Artefact, load
from maestro_solver.predictor.evaluation.baselines import boosting_forecasts, medians_of
from maestro_solver.predictor.evaluation.report import GroupReport, Report, evaluated
from maestro_solver.predictor.stage_predictor import StagePredictor

MEDIAN, BOOSTING = "(app, role, phase) median", "gradient boosting"
FAMILIES = {"chatdev": "ChatDev_Intermediate", "tau2": "tau2-bench", "coding_agent": "kv-cache-tester"}


def report_of(
    calls: tuple[TraceCall, ...], training: tuple[TraceCall, ...], artefact: Artefact, online: bool
) -> Report:
    """Score the artefact and the baselines on ``calls``."""
    baselines = {BOOSTING: boosting_forecasts(training, calls)}
    report = evaluated(calls, StagePredictor(artefact), medians_of(training), baselines, online=online)
    if report is None:
        raise SystemExit("no output of the validation traces ended by itself")
    return report


def print_errors(report: Report) -> None:
    """Print a line per trace and the goals that hold for it."""
    print(f"{'trace':<14}{'calls':>7}{'MAE':>8}{'median':>8}{'boosted':>8}{'/median':>9}{'/boosted':>9}", end="")
    print(f"{'<=p50':>7}{'<=p90':>7}{'<=p95':>7}{'tau':>6}")
    sources = {
        name: group for name, end in FAMILIES.items() for group in report.by_source if group.group[0].endswith(end)
    }
    for name, group in {**sources, "all": report.overall}.items():
        scores = group.scores
        error, median, boosted = scores.mean_absolute_error_tokens, *_baselines(group)
        print(f"{name:<14}{scores.calls:>7}{error:>8.1f}{median:>8.1f}{boosted:>8.1f}", end="")
        print(f"{error / median - 1:>+9.1%}{error / boosted - 1:>+9.1%}", end="")
        print("".join(f"{share:>7.1%}" for share in scores.covered.values()) + f"{scores.kendall_tau or 0:>6.2f}")


def print_coverage(report: Report) -> None:
    """Print the (app, role)s of 200 calls or more, and how far their coverage is from what it says."""
    large = [group for group in report.by_role if group.scores.calls >= 200]
    print(f"\n{'(app, role)':<46}{'calls':>7}{'MAE':>8}{'<=p90':>8}{'<=p95':>8}")
    for group in large:
        covered = group.scores.covered
        print(
            f"{', '.join(group.group):<46}{group.scores.calls:>7}{group.scores.mean_absolute_error_tokens:>8.1f}",
            end="",
        )
        print(f"{covered['p90']:>8.1%}{covered['p95']:>8.1%}")
    worst = max(abs(group.scores.covered[f"p{q}"] - q / 100) for group in large for q in (90, 95))
    print(f"largest distance: {100 * worst:.1f} points (goal: 5)")


def print_reservations(report: Report) -> None:
    """Print what reservations save on ChatDev."""
    chatdev = next(group for group in report.by_app if group.group == ("chatdev",))
    print("\nKV reservation on chatdev: prompt + quantile, in tokens per call")
    print(
        f"{'':<6}{'overflow':>9}{'of 8,192':>10}{'possible':>10}{'of prompt + 4,096':>19}{'possible':>10}{'share':>8}"
    )
    for one in chatdev.reservations:
        print(f"{one.quantile:<6}{one.overflow:>9.2%}{one.saved_of_stage:>10.1%}{one.possible_of_stage:>10.1%}", end="")
        print(f"{one.saved_of_generous:>19.1%}{one.possible_of_generous:>10.1%}{one.share_of_possible:>8.1%}")


def _baselines(group: GroupReport) -> tuple[float, float]:
    return group.scores.baseline_errors[MEDIAN], group.scores.baseline_errors[BOOSTING]


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--artefact", type=Path, default=DEFAULT_FOLDER, metavar="DIR")
    parser.add_argument(
        "--online", action="store_true", help="learn on from earlier workflows of the validation traces"
    )
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    arguments = parser.parse_args()
    calls, training = read_traces(arguments.validation), read_traces(arguments.train)
    report = report_of(calls, training, load(arguments.artefact), arguments.online)
    if arguments.json:
        print(json.dumps(asdict(report), indent=2, default=np.ndarray.tolist))
        return
    print_errors(report)
    print_coverage(report)
    print_reservations(report)


if __name__ == "__main__":
    main()
