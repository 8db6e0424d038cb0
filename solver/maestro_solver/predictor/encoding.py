"""Features as a network reads them: compressed, scaled, and spread over the quantiles seen in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MAX_DEVIATIONS = 4.0


@dataclass(frozen=True, slots=True)
class NumericEncoding:
    """Turns raw features into inputs of a network.

    Each feature x becomes s = sign(x) log(1 + |x|) and gives: whether it is missing; s scaled to mean 0 and spread 1,
    within 4 spreads; and for each interval between quantiles of training data how far s has come through it, 0 to 1
    (piecewise linear encoding, Gorishniy et al. 2022, which lets a small network see thresholds as a tree does).
    ``feature``, ``lower`` and ``width`` describe the intervals, one entry each.
    """

    mean: Floats
    spread: Floats
    feature: NDArray[np.int64]
    lower: Floats
    width: Floats

    @property
    def size(self) -> int:
        """How many inputs a call gives."""
        return 2 * len(self.mean) + len(self.feature)

    def encode(self, features: NDArray[np.floating]) -> Floats:
        """Return the inputs, (calls, ``size``), of raw features, (calls, features), NaN where one is missing."""
        compressed = _compressed(features)
        missing = np.isnan(compressed)
        scaled = np.clip((compressed - self.mean) / self.spread, -_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        through = np.clip((compressed[:, self.feature] - self.lower) / self.width, 0.0, 1.0)
        known = np.nan_to_num(np.concatenate((scaled, through), axis=1), copy=False, nan=0.0)
        return np.concatenate((missing, known), axis=1, dtype=np.float32)


def fitted_encoding(features: NDArray[np.floating], intervals: int) -> NumericEncoding:
    """Return the encoding for training data, (calls, features); a feature never known keeps only 'missing'."""
    compressed = _compressed(features)
    means, spreads, owners, lowers, widths = [], [], [], [], []
    for index in range(compressed.shape[1]):
        known = compressed[:, index][~np.isnan(compressed[:, index])]
        means.append(known.mean() if len(known) else 0.0)
        spreads.append(max(float(known.std()), 1e-3) if len(known) else 1.0)
        edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, intervals + 1))) if len(known) else np.zeros(1)
        if len(edges) > 2:
            owners += [index] * (len(edges) - 1)
            lowers += list(edges[:-1])
            widths += list(np.diff(edges))
    return NumericEncoding(
        np.array(means, np.float32),
        np.array(spreads, np.float32),
        np.array(owners, np.int64),
        np.array(lowers, np.float32),
        np.maximum(np.array(widths, np.float32), np.float32(1e-6)),
    )


def _compressed(features: NDArray[np.floating]) -> Floats:
    raw = features.astype(np.float32, copy=False)
    return np.sign(raw) * np.log1p(np.abs(raw))
