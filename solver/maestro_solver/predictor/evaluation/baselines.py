"""Point forecasts to compare with: medians, and gradient boosting."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthForecast
from maestro.errors import UnsupportedError
from maestro.trace import TraceCall
from maestro_solver.predictor.call import finished, upcoming
from maestro_solver.predictor.features import NAMES, numeric_features
from maestro_solver.predictor.history import WorkflowHistory

Doubles = NDArray[np.float64]

_NUMBERS = ("step", "prompt", "growth", "last_1", "last_2", "last_role")
_CATEGORIES: tuple[Callable[[TraceCall], str], ...] = (
    lambda call: call.role,
    lambda call: call.app,
    lambda call: call.phase,
)
_COMPONENTS = 48
_UNUSED = LengthForecast(0.0, 0.0, 0.0)


def medians_of(calls: Sequence[TraceCall]) -> dict[tuple[str, ...], float]:
    """Return the median output, tokens, of all calls, under (), and of each (app, role, phase)."""
    outputs: dict[tuple[str, ...], list[int]] = {}
    for call in calls:
        for key in ((), (call.app, call.role, call.phase)):
            outputs.setdefault(key, []).append(call.completion_tokens)
    return {key: float(median(tokens)) for key, tokens in outputs.items()}


def median_forecasts(calls: Sequence[TraceCall], medians: Mapping[tuple[str, ...], float]) -> dict[str, Doubles]:
    """Return the global median, and that of each call's (app, role, phase), the global one where that is new."""
    overall = medians[()]
    by_role = [medians.get((call.app, call.role, call.phase), overall) for call in calls]
    return {"global median": np.full(len(calls), overall), "(app, role, phase) median": np.array(by_role)}


def boosting_forecasts(
    training: Sequence[TraceCall], calls: Sequence[TraceCall], *, iterations: int = 400, seed: int = 0
) -> Doubles:
    """Return the forecasts for ``calls`` of gradient boosting trained on ``training``.

    scikit-learn's HistGradientBoostingRegressor with absolute error, 400 iterations, learning rate 0.08 and 10 samples
    a leaf, from role, app and phase, step, prompt tokens and growth, the two lengths before, the last length of the
    same role, and 48 SVD components of hashed word n-grams of the prompt's head.
    Raises UnsupportedError where scikit-learn is not installed.
    """
    ensemble, text, decomposition = _scikit("ensemble"), _scikit("feature_extraction.text"), _scikit("decomposition")
    hashing = text.HashingVectorizer(ngram_range=(1, 2), n_features=2**16, alternate_sign=False)
    components = decomposition.TruncatedSVD(_COMPONENTS, random_state=seed)
    training_text = components.fit_transform(hashing.transform(call.prompt_head for call in training))
    text_of_calls = components.transform(hashing.transform(call.prompt_head for call in calls))
    codes = [_codes(training, category) for category in _CATEGORIES]
    model = ensemble.HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=iterations,
        learning_rate=0.08,
        min_samples_leaf=10,
        categorical_features=list(range(len(_CATEGORIES))),
        random_state=seed,
    )
    model.fit(np.hstack([_table(training, codes), training_text]), [float(call.completion_tokens) for call in training])
    forecasts: Doubles = model.predict(np.hstack([_table(calls, codes), text_of_calls]))
    return forecasts


def _table(calls: Sequence[TraceCall], codes: Sequence[Mapping[str, int]]) -> Doubles:
    chosen = [NAMES.index(name) for name in _NUMBERS]
    histories: dict[str, WorkflowHistory] = {}
    rows = []
    for recorded in calls:
        history = histories.setdefault(recorded.workflow_id, WorkflowHistory())
        numbers = numeric_features(upcoming(recorded), history, _UNUSED)
        known = [float(code.get(category(recorded), -1)) for category, code in zip(_CATEGORIES, codes, strict=True)]
        rows.append([*known, *(numbers[index] for index in chosen)])
        history.add(finished(recorded))
    return np.array(rows, np.float64)


def _codes(calls: Sequence[TraceCall], category: Callable[[TraceCall], str]) -> dict[str, int]:
    return {value: code for code, value in enumerate(sorted({category(call) for call in calls}))}


def _scikit(module: str) -> Any:
    try:
        found: ModuleType = importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UnsupportedError(
            "the boosting baseline needs scikit-learn, which is not installed; pip install scikit-learn, or leave "
            "--baseline-trace out"
        ) from error
    return found
