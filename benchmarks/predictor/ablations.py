"""What each group of features is worth: the error of networks trained without it.

    python benchmarks/predictor/ablations.py --train train/*.jsonl.gz --validation validation/*.jsonl.gz

Every network is trained alike, with fewer epochs than the shipped one, on every ``--every``-th workflow, and scored
uncalibrated. With every workflow about a minute of training for each line on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maestro.trace import TraceCall, read_traces
from maestro_solver.predictor.call import upcoming
from maestro_solver.predictor.features import GROUPS, NAMES
from maestro_solver.predictor.network import NetworkInputs
from maestro_solver.predictor.role_statistics import LengthPredictor
from maestro_solver.predictor.training.examples import Examples, examples_of, shuffled_workflows
from maestro_solver.predictor.training.fitting import fitted
from maestro_solver.predictor.training.settings import TrainingSettings
from maestro_solver.predictor.vocabulary import vocabulary_of

TRACES = {"chatdev": ("chatdev",), "tau2": ("tau2",), "coding_agent": ("claude_code",)}
PHASE_ROWS = (3, 5)
"""The names of a call that hold its phase."""


def without(examples: Examples, left_out: str) -> Examples:
    """Return the examples as they are where a group of features, the text, the names or the phase is not known."""
    features, names, ngrams = (array.copy() for array in _arrays(examples.inputs))
    if left_out in GROUPS:
        features[:, [NAMES.index(name) for name in GROUPS[left_out]]] = np.nan
    elif left_out == "text":
        ngrams[:] = 0
    elif left_out == "names":
        names[:] = 0
    elif left_out == "phase":
        names[:, PHASE_ROWS] = 0
    elif left_out == "all but names":
        features[:] = np.nan
        ngrams[:] = 0
    return replace(examples, inputs=NetworkInputs(features, names, ngrams))


def _arrays(inputs: NetworkInputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return inputs.features, inputs.names, inputs.ngrams


def errors(medians: np.ndarray, calls: Sequence[TraceCall]) -> list[float]:
    """Return the mean absolute error, tokens, on each of TRACES and on all."""
    off = np.abs(medians - np.array([call.completion_tokens for call in calls]))
    apps = np.array([call.app for call in calls])
    return [*(float(off[np.char.startswith(apps, start)].mean()) for start in TRACES.values()), float(off.mean())]


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--every", type=int, default=1, metavar="N")
    arguments = parser.parse_args()
    shuffled, calls = shuffled_workflows(read_traces(arguments.train), 0), read_traces(arguments.validation)
    chosen = set(list(dict.fromkeys(call.workflow_id for call in shuffled))[:: arguments.every])
    training = [call for call in shuffled if call.workflow_id in chosen]
    vocabulary = vocabulary_of(upcoming(call) for call in training)
    statistics = LengthPredictor()
    learning = examples_of(training, vocabulary, statistics, learn=True)
    unseen = examples_of(calls, vocabulary, statistics, learn=False)
    print(f"{'left out':<20}" + "".join(f"{name:>14}" for name in (*TRACES, "all")))
    whole: list[float] = []
    for left_out in ("nothing", *GROUPS, "text", "phase", "names", "all but names"):
        network = fitted(
            without(learning, left_out), len(vocabulary), TrainingSettings(epochs=arguments.epochs), lambda *_: None
        )
        levels = np.full((len(calls), 1), 0.5)
        found = errors(network.predict(without(unseen, left_out).inputs).quantiles(levels)[:, 0] - 0.5, calls)
        whole = whole or found
        cells = (f"{error:.1f} {error / full - 1:+.1%}" for error, full in zip(found, whole, strict=True))
        print(f"{left_out:<20}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
