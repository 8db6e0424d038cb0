"""Recorded calls as arrays to learn from, each seen only with what was known before it ran."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthObservation, LengthOutcome
from maestro.trace import TraceCall
from maestro_solver.predictor.call import finished, upcoming
from maestro_solver.predictor.features import numeric_features
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.network import NetworkInputs
from maestro_solver.predictor.role_statistics import LengthPredictor
from maestro_solver.predictor.stage_predictor import ngram_rows
from maestro_solver.predictor.vocabulary import rows_of

LEAST_HELD_OUT = 12
"""How many tasks of an app are held out for calibration, if it has enough of them."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of the network and what came of each call: output tokens, and whether the output was cut there."""

    inputs: NetworkInputs
    tokens: NDArray[np.float32]
    censored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tokens)

    def taken(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Examples:
        """Return the examples at ``rows``."""
        inputs = self.inputs
        chosen = NetworkInputs(inputs.features[rows], inputs.names[rows], inputs.ngrams[rows])
        return Examples(chosen, self.tokens[rows], self.censored[rows])


def examples_of(
    calls: Sequence[TraceCall], vocabulary: Mapping[str, int], statistics: LengthPredictor, *, learn: bool
) -> Examples:
    """Return the calls as examples, in order.

    ``statistics`` says what role statistics forecast of each; with ``learn`` they take in every call after its turn.
    """
    histories: dict[str, WorkflowHistory] = {}
    features, names = [], []
    for recorded in calls:
        history = histories.setdefault(recorded.workflow_id, WorkflowHistory())
        call = upcoming(recorded)
        features.append(numeric_features(call, history, statistics.forecast(call.role_features)))
        names.append(rows_of(call, vocabulary))
        history.add(finished(recorded))
        if learn:
            statistics.observe(LengthObservation(call.role_features, recorded.completion_tokens, recorded.outcome))
    inputs = NetworkInputs(
        np.array(features, np.float32), np.array(names, np.int64), ngram_rows([upcoming(call) for call in calls])
    )
    return Examples(
        inputs,
        np.array([call.completion_tokens for call in calls], np.float32),
        np.array([call.outcome is LengthOutcome.CENSORED for call in calls]),
    )


def shuffled_workflows(calls: Sequence[TraceCall], seed: int) -> list[TraceCall]:
    """Return the calls workflow by workflow, the workflows in random order."""
    workflows: dict[str, list[TraceCall]] = {}
    for call in calls:
        workflows.setdefault(call.workflow_id, []).append(call)
    order = list(workflows.values())
    random.Random(seed).shuffle(order)  # noqa: S311 - an order of examples, not a secret
    return [call for workflow in order for call in workflow]


def split_by_task(calls: Sequence[TraceCall], share: float, seed: int) -> tuple[list[TraceCall], list[TraceCall]]:
    """Return the calls in two parts, the second with about ``share`` of the tasks; no task stands in both.

    A task is what a user asked (its text, else its id, else the workflow itself), per app. Of an app of few tasks more
    are taken, up to LEAST_HELD_OUT and three in ten: calls on one task are alike, so that few tasks say little. Every
    app of two tasks or more has one in both parts.
    """
    tasks: dict[str, dict[str, None]] = {}
    for call in calls:
        tasks.setdefault(call.app, {})[_task(call)] = None
    generator = random.Random(seed)  # noqa: S311 - a split of examples, not a secret
    held: set[tuple[str, str]] = set()
    for app, names in tasks.items():
        least = min(LEAST_HELD_OUT, round(0.3 * len(names)))
        count = min(max(1, least, round(share * len(names))), len(names) - 1)
        held |= {(app, name) for name in generator.sample(list(names), count)}
    first = [call for call in calls if (call.app, _task(call)) not in held]
    return first, [call for call in calls if (call.app, _task(call)) in held]


def _task(call: TraceCall) -> str:
    return call.task or call.task_id or call.workflow_id
