"""The buckets that output lengths are counted in: exact for short lengths, about 4 % wide for long ones."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthForecast

Weights = NDArray[np.float64]
"""A number per bucket: counts, probabilities or hazards."""

MAX_TOKENS = 1 << 20
"""The longest output that is believed; the last bucket ends here."""

GROWTH = 1.04


def _lower_edges() -> tuple[int, ...]:
    edges = [0]
    while edges[-1] <= MAX_TOKENS:
        edges.append(max(edges[-1] + 1, math.floor(edges[-1] * GROWTH)))
    return (*(edge for edge in edges if edge <= MAX_TOKENS), MAX_TOKENS + 1)


_EDGES = np.array(_lower_edges(), dtype=np.int64)

BUCKETS = len(_EDGES) - 1
"""How many buckets there are; bucket ``i`` holds the lengths from edge ``i`` to one below edge ``i + 1``."""


def bucket_of(tokens: int) -> int:
    """Return the bucket that holds a length of ``tokens``, 0 to MAX_TOKENS."""
    return int(np.searchsorted(_EDGES, tokens, side="right")) - 1


def lower_edge(bucket: int) -> int:
    """Return the least length that ``bucket`` holds."""
    return int(_EDGES[bucket])


def quantile_tokens(cumulative: Weights, quantile: float) -> float:
    """Return the length, in tokens, below or at which a share ``quantile`` of the outputs lies.

    ``cumulative`` is the distribution function at the end of each bucket. Lengths are taken as spread evenly
    over the bucket that the quantile falls in; a bucket of one length gives that length.
    """
    bucket = min(int(np.searchsorted(cumulative, quantile, side="left")), BUCKETS - 1)
    below = float(cumulative[bucket - 1]) if bucket else 0.0
    share = float(cumulative[bucket]) - below
    within = min(1.0, (quantile - below) / share) if share > 0 else 1.0
    first, last = int(_EDGES[bucket]), int(_EDGES[bucket + 1]) - 1
    return first + within * (last - first)


def spread_over(quantiles: LengthForecast) -> Weights:
    """Return the probability of each bucket under a smooth distribution with these quantiles.

    The normal score of a length is taken as piecewise linear in its logarithm, through the three quantiles and on
    beyond them: a log-normal distribution if they are those of one, else one whose spread changes at the p90.
    """
    scores = np.array([NormalDist().inv_cdf(share) for share in (0.5, 0.9, 0.95)])
    logarithms = np.log([quantiles.p50_tokens, quantiles.p90_tokens, quantiles.p95_tokens])
    slopes = np.diff(scores) / np.maximum(np.diff(logarithms), 1e-3)  # equal quantiles: very steep, not vertical
    edges = np.log(_EDGES[1:])
    below_p90 = scores[1] + slopes[0] * (edges - logarithms[1])
    above_p90 = scores[1] + slopes[1] * (edges - logarithms[1])
    cumulative = np.array([NormalDist().cdf(z) for z in np.where(edges < logarithms[1], below_p90, above_p90)])
    cumulative[-1] = 1.0
    return np.diff(cumulative, prepend=0.0)
