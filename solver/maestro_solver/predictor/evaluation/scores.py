"""The figures of a set of forecasts beside what came true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from maestro.costs import LengthOutcome
from maestro_solver.predictor.evaluation.replay import SHARES, ReplayedCall, lengths_of

Doubles = NDArray[np.float64]

COVERED = (0.5, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one set of calls; outputs that were cut are left out, since their true length is not known.

    ``pinball`` is the mean over p10 to p99, tokens. ``covered`` is the share of outputs within p50, p90 and p95.
    ``baseline_errors`` are mean absolute errors, tokens, of other forecasts of the same calls. ``kendall_tau`` is None
    where all lengths or all forecasts are equal.
    """

    calls: int
    mean_absolute_error_tokens: float
    pinball_tokens: float
    covered: dict[str, float]
    kendall_tau: float | None
    baseline_errors: dict[str, float]


def scored(calls: Sequence[ReplayedCall], baselines: dict[str, Doubles]) -> Scores | None:
    """Return the figures of ``calls``, None where none of them ended by itself.

    ``baselines`` holds point forecasts, tokens, of the same calls in the same order, by name.
    """
    whole = np.array([one.call.outcome is LengthOutcome.COMPLETE for one in calls], bool)
    if not whole.any():
        return None
    lengths = lengths_of(calls)[whole]
    quantiles = np.stack([one.quantiles for one in calls])[whole]
    medians = quantiles[:, list(SHARES).index(0.5)]
    return Scores(
        calls=len(lengths),
        mean_absolute_error_tokens=_error(medians, lengths),
        pinball_tokens=pinball_tokens(quantiles, lengths),
        covered={
            f"p{100 * share:.0f}": float((lengths <= quantiles[:, list(SHARES).index(share)]).mean())
            for share in COVERED
        },
        kendall_tau=_kendall_tau(medians, lengths),
        baseline_errors={name: _error(forecast[whole], lengths) for name, forecast in baselines.items()},
    )


def pinball_tokens(quantiles: Doubles, lengths: Doubles) -> float:
    """Return the mean pinball loss over calls and SHARES; ``quantiles`` is (calls, SHARES)."""
    beyond = lengths[:, None] - quantiles
    return float(np.maximum(SHARES * beyond, (SHARES - 1.0) * beyond).mean())


def _error(forecast: Doubles, lengths: Doubles) -> float:
    return float(np.abs(forecast - lengths).mean())


def _kendall_tau(forecast: Doubles, lengths: Doubles) -> float | None:
    tau = float(kendalltau(forecast, lengths).statistic)
    return None if np.isnan(tau) else tau
