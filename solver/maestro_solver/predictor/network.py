"""The trained network, run with numpy: predicting imports no torch.

A few members share the embeddings and are averaged. For one call, with x the encoded features beside the summed
embeddings of its place, of its model and of its text, member m computes

    a = silu(x W1 + b1);  b = a + silu(a W2 + b2);  (class scores, slopes) = b W3 + b3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestro_solver.predictor.distribution import CLASSES, LengthDistributions
from maestro_solver.predictor.encoding import Floats, NumericEncoding
from maestro_solver.predictor.vocabulary import LEVELS, PLACE_LEVELS

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NetworkInputs:
    """What a network reads of several calls.

    ``features`` is (calls, features) with NaN where one is missing, ``names`` (calls, LEVELS) rows of name embeddings,
    ``ngrams`` (calls, any width) rows of word embeddings, 0 after the last word.
    """

    features: Floats
    names: Rows
    ngrams: Rows

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together."""
        calls = len(self.features)
        if self.names.shape != (calls, LEVELS) or len(self.ngrams) != calls:
            raise ValueError("features, names and ngrams must hold the same calls")


@dataclass(frozen=True, slots=True)
class NetworkWeights:
    """Arrays of a trained network.

    ``names`` is (names + 1, width) and ``ngrams`` (ROWS + 1, width), their first rows zero. ``w1`` is (inputs,
    members x hidden), ``w2`` (members, hidden, hidden), ``w3`` (members, hidden, 2 x CLASSES), biases accordingly.
    """

    names: Floats
    ngrams: Floats
    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats
    w3: Floats
    b3: Floats


class Network:
    """Predicts distributions of lengths. Deterministic, no state; safe to share between threads."""

    def __init__(self, encoding: NumericEncoding, weights: NetworkWeights) -> None:
        """Raises ValueError where the shapes of encoding and weights do not fit each other."""
        self.encoding = encoding
        self.weights = weights
        members, hidden, _ = weights.w2.shape
        inputs = encoding.size + 2 * weights.names.shape[1] + weights.ngrams.shape[1]
        expected: Mapping[str, tuple[int, ...]] = {
            "w1": (inputs, members * hidden),
            "b1": (members * hidden,),
            "w2": (members, hidden, hidden),
            "b2": (members, 1, hidden),
            "w3": (members, hidden, 2 * CLASSES),
            "b3": (members, 1, 2 * CLASSES),
        }
        for name, shape in expected.items():
            if getattr(weights, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {getattr(weights, name).shape}")

    def predict(self, inputs: NetworkInputs) -> LengthDistributions:
        """Return the distribution of each call's output length."""
        weights = self.weights
        members, hidden, _ = weights.w2.shape
        first = _silu(self._joined(inputs) @ weights.w1 + weights.b1)
        first = first.reshape(-1, members, hidden).transpose(1, 0, 2)
        second = first + _silu(first @ weights.w2 + weights.b2)
        scores = (second @ weights.w3 + weights.b3).astype(np.float64)
        return _averaged(scores[..., :CLASSES], scores[..., CLASSES:])

    def _joined(self, inputs: NetworkInputs) -> Floats:
        """Put the encoded features and the three embeddings of each call side by side."""
        names = self.weights.names[inputs.names]
        words = self.weights.ngrams[inputs.ngrams].sum(axis=1)
        words /= np.maximum((inputs.ngrams > 0).sum(axis=1, keepdims=True), 1)
        place, model = names[:, :PLACE_LEVELS].sum(axis=1), names[:, PLACE_LEVELS:].sum(axis=1)
        return np.concatenate((self.encoding.encode(inputs.features), place, model, words), axis=1)


def _averaged(scores: NDArray[np.float64], slopes: NDArray[np.float64]) -> LengthDistributions:
    """Average the members' distributions, (members, calls, classes), as a mixture of equal parts."""
    scores -= scores.max(axis=2, keepdims=True)
    odds = np.exp(scores)
    odds /= odds.sum(axis=2, keepdims=True)
    probability = odds.mean(axis=0)
    slope = (odds * np.tanh(slopes)).mean(axis=0) / np.maximum(probability, 1e-300)
    return LengthDistributions(probability, np.clip(slope, -1.0, 1.0))


def _silu(x: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return (x / (1.0 + np.exp(-x))).astype(np.float32, copy=False)
