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


def share_of_way(
    values: Sequence[float], starts: Sequence[float], ends: Sequence[float], least: float
) -> Interval | None:
    """How far ``values`` go from ``starts`` to ``ends`` on average, per cent; seeds are drawn together.

    A ratio of means, not a mean of ratios, which one seed without a way would spoil. None where ``starts`` and
    ``ends`` are not surely ``least`` apart: their difference's interval goes below it.
    """
    gained = np.asarray(values, dtype=float) - np.asarray(starts, dtype=float)
    way = np.asarray(ends, dtype=float) - np.asarray(starts, dtype=float)
    if not len(way) or interval(way.tolist()).low < least:
        return None
    drawn = np.random.default_rng(0).integers(0, len(way), (RESAMPLES, len(way)))
    shares = 100.0 * gained[drawn].mean(axis=1) / way[drawn].mean(axis=1)
    low, high = np.percentile(shares, (2.5, 97.5))
    return Interval(float(100.0 * gained.mean() / way.mean()), float(low), float(high))
