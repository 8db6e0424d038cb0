"""Means with bootstrap intervals; differences are taken seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """The mean of independent values; with one value the interval is that value."""
    found = np.asarray(values, dtype=float)
    generator = np.random.default_rng(0)
    means = generator.choice(found, (RESAMPLES, len(found))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(found.mean()), float(low), float(high))


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Interval:
    """How much ``values`` are above ``others``, pair by pair."""
    return interval([value - other for value, other in zip(values, others, strict=True)])
