"""From traces to an artefact: fit on most tasks, calibrate on the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maestro.errors import InvalidInputError
from maestro.trace import TraceCall
from maestro_solver.predictor import state as stored
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.calibration import BINS, Calibration
from maestro_solver.predictor.call import upcoming
from maestro_solver.predictor.evaluation.baselines import medians_of
from maestro_solver.predictor.network import Network
from maestro_solver.predictor.role_statistics import LengthPredictor
from maestro_solver.predictor.training.examples import Examples, examples_of, shuffled_workflows, split_by_task
from maestro_solver.predictor.training.fitting import OnEpoch, fitted
from maestro_solver.predictor.training.settings import TrainingSettings
from maestro_solver.predictor.vocabulary import vocabulary_of

_LEAST_CALLS = 20


def trained(
    calls: Sequence[TraceCall], settings: TrainingSettings, provenance: Mapping[str, object], on_epoch: OnEpoch
) -> Artefact:
    """Return an artefact trained on ``calls``; ``provenance`` is kept with it.

    Raises InvalidInputError where there are too few calls to learn from and to calibrate with.
    """
    shuffled = shuffled_workflows(calls, settings.seed)
    learning, held_out = split_by_task(shuffled, settings.calibration_share, settings.seed)
    if len(learning) < _LEAST_CALLS or not held_out:
        raise InvalidInputError(
            "trace",
            f"needs {_LEAST_CALLS} calls or more, of two tasks or more, to train on",
            value=len(calls),
            remedy="record more workflows; until then role statistics forecast",
        )
    vocabulary = vocabulary_of(upcoming(call) for call in learning)
    statistics = LengthPredictor()
    examples = examples_of(learning, vocabulary, statistics, learn=True)
    network = fitted(examples, len(vocabulary), settings, on_epoch)
    held_out_examples = examples_of(held_out, vocabulary, statistics, learn=True)
    calibration = calibrated(network, held_out, held_out_examples)
    training = {
        **provenance,
        "calls": len(learning),
        "calibration_calls": len(held_out),
        "workflows": len({call.workflow_id for call in learning}),
        "calibration_workflows": len({call.workflow_id for call in held_out}),
    }
    return Artefact(
        network=network,
        vocabulary=vocabulary,
        statistics=statistics.state(),
        scores=stored.encode(calibration.histograms(), BINS),
        medians=medians_of(calls),
        training=training,
    )


def calibrated(network: Network, calls: Sequence[TraceCall], examples: Examples) -> Calibration:
    """Return a calibration that has counted the score of every call, each an example that was not trained on."""
    rounding = np.array([upcoming(call).rounding for call in calls])
    scores = network.predict(examples.inputs).below(examples.tokens + rounding)
    calibration = Calibration()
    for call, score, censored in zip(calls, scores, examples.censored, strict=True):
        calibration.observe(upcoming(call), float(score), censored=bool(censored))
    calibration.drifts = 0
    return calibration
