"""How forecasts do where they were not trained: on an app left out of training, and on the newest workflows.

    python benchmarks/predictor/unseen_sources.py --trace train/*.jsonl.gz

For each app with 20 workflows or more, trains on all others and goes through that app's workflows in the files' order,
learning on online; then trains on the first four fifths of every file's workflows and goes through the rest. Prints
coverage and error by how many workflows came before. About a minute of training for each line on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maestro.trace import TraceCall, read_trace
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.evaluation.replay import ReplayedCall, replayed
from maestro_solver.predictor.stage_predictor import StagePredictor
from maestro_solver.predictor.training.settings import TrainingSettings
from maestro_solver.predictor.training.train import trained

SPANS = ((0, 5), (5, 20), (20, 60), (60, 10_000))
LEAST_WORKFLOWS = 20


def fit(calls: list[TraceCall], epochs: int) -> Artefact:
    """Train on ``calls``."""
    return trained(calls, TrainingSettings(epochs=epochs), {}, lambda *_: None)


def by_span(scored: Iterator[ReplayedCall]) -> dict[tuple[int, int], list[ReplayedCall]]:
    """Sort forecasts by how many workflows came before theirs."""
    order: dict[str, int] = {}
    spans: dict[tuple[int, int], list[ReplayedCall]] = {}
    for one in scored:
        index = order.setdefault(one.call.workflow_id, len(order))
        span = next(span for span in SPANS if span[0] <= index < span[1])
        spans.setdefault(span, []).append(one)
    return spans


def print_line(name: str, calls: list[TraceCall], artefact: Artefact) -> None:
    """Print coverage of the p95, and the error beside that of forecasts that never learn on, for each span."""
    learning = by_span(replayed(calls, StagePredictor(artefact), online=True))
    frozen = by_span(replayed(calls, StagePredictor(artefact), online=False))
    for span in learning:
        covered, error = _figures(learning[span])
        covered_frozen, error_frozen = _figures(frozen[span])
        workflows = f"{span[0]}-{min(span[1], len({call.workflow_id for call in calls})) - 1}"
        print(f"{name:<24}{workflows:>10}{len(learning[span]):>8}{covered:>9.1%}{error:>9.1f}", end="")
        print(f"{covered_frozen:>12.1%}{error_frozen:>12.1f}{error / error_frozen - 1:>+9.1%}", flush=True)


def _figures(scored: list[ReplayedCall]) -> tuple[float, float]:
    lengths = np.array([one.call.completion_tokens for one in scored])
    covered = float((lengths <= np.array([one.at(0.95) for one in scored])).mean())
    return covered, float(np.abs(lengths - np.array([one.p50_tokens for one in scored])).mean())


def apps_of(calls: list[TraceCall], wanted: Callable[[int], bool]) -> list[str]:
    """Return the apps whose number of workflows is ``wanted``."""
    workflows: dict[str, set[str]] = {}
    for call in calls:
        workflows.setdefault(call.app, set()).add(call.workflow_id)
    return [app for app, found in workflows.items() if wanted(len(found))]


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    files = [list(read_trace(path)) for path in arguments.trace]
    calls = [call for file in files for call in file]
    print(f"{'left out':<24}{'workflows':>10}{'calls':>8}{'<= p95':>9}{'MAE':>9}{'frozen p95':>12}{'frozen MAE':>12}")
    for app in apps_of(calls, lambda count: count >= LEAST_WORKFLOWS):
        artefact = fit([call for call in calls if call.app != app], arguments.epochs)
        print_line(app, [call for call in calls if call.app == app], artefact)
    older: list[TraceCall] = []
    newest: list[list[TraceCall]] = []
    for file in files:
        ids = list(dict.fromkeys(call.workflow_id for call in file))
        known = set(ids[: 4 * len(ids) // 5])
        older += [call for call in file if call.workflow_id in known]
        newest.append([call for call in file if call.workflow_id not in known])
    artefact = fit(older, arguments.epochs)
    for path, file in zip(arguments.trace, newest, strict=True):
        print_line(f"newest of {path.name.split('.')[0]}", file, artefact)


if __name__ == "__main__":
    main()
