"""What is forecast of one call's output, and how that changes while the call runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthForecast
from maestro.errors import InvalidInputError
from maestro_solver.predictor.distribution import LengthDistributions

LevelMap = NDArray[np.float64]
"""The distribution function of a group's scores, at equal distances from 0 to 1 (see calibration)."""

_SHARES = np.array([0.5, 0.9, 0.95])

_RESERVED_SHARES = 1.0 - np.geomspace(0.2, 0.001, 16)


@dataclass(frozen=True, slots=True)
class StageForecast:
    """A calibrated distribution of one output's length; quantiles are whole, and none lies above ``max_tokens``.

    ``network`` and ``statistics`` are what ``distribution`` was mixed from, kept so that an outcome can tell which of
    them knew better.
    """

    distribution: LengthDistributions
    level_map: LevelMap
    max_tokens: int
    rounding: float
    network: LengthDistributions
    statistics: LengthDistributions

    def quantiles(self, shares: NDArray[np.floating], alive_at_tokens: int = 0) -> NDArray[np.float64]:
        """Return the lengths, tokens, that the output stays within with probability ``shares``, each 0 to 1.

        With ``alive_at_tokens`` the call runs and has produced that many tokens without ending: lengths are then
        those of outputs that come so far, and none is below it.
        """
        if alive_at_tokens < 0 or not np.all((shares >= 0) & (shares <= 1)):
            raise InvalidInputError(
                "shares", "must lie from 0 to 1, and alive_at_tokens be 0 or more", value=(shares, alive_at_tokens)
            )
        ends = np.linspace(0.0, 1.0, len(self.level_map))
        gone = self._below(alive_at_tokens - 1) if alive_at_tokens else 0.0
        if gone >= 1.0 - 1e-9:  # longer than anything foreseen: nothing is known but that it runs
            return np.full(len(shares), float(min(alive_at_tokens, self.max_tokens)))
        levels = np.interp(gone + shares * (1.0 - gone), self.level_map, ends)
        positions = self.distribution.quantiles(levels[None, :])[0]
        lengths = np.maximum(_whole(positions, self.rounding), alive_at_tokens)
        capped: NDArray[np.float64] = np.minimum(lengths, self.max_tokens)
        return capped

    def cheapest_reservation(self, overflow_cost_tokens: float) -> float:
        """Return the output length, tokens, to reserve where outgrowing it costs as much as so many tokens reserved.

        It is the quantile q(s) that makes q(s) + (1 - s) * cost least: of the calls that share a memory, those whose
        length is well known are reserved for nearly to the end and those that are wide open less so, which for the
        same overflow in all takes less memory than one quantile for every call.
        """
        lengths = self.quantiles(_RESERVED_SHARES)
        return float(lengths[np.argmin(lengths + (1.0 - _RESERVED_SHARES) * overflow_cost_tokens)])

    def lengths(self, alive_at_tokens: int = 0) -> LengthForecast:
        """Return p50, p90 and p95 as the scheduler reads them."""
        found = self.quantiles(_SHARES, alive_at_tokens)
        return LengthForecast(*(float(tokens) for tokens in found))

    def score(self, tokens: int) -> float:
        """Return the share of the uncalibrated distribution below an output of ``tokens``, as this call rounds.

        The output is within a quantile exactly if its score is within that quantile's level.
        """
        return float(self.distribution.below(np.array([tokens + self.rounding]))[0])

    def _below(self, tokens: int) -> float:
        """Return the calibrated probability of an output of at most ``tokens``."""
        return float(np.interp(self.score(tokens), np.linspace(0.0, 1.0, len(self.level_map)), self.level_map))


def _whole(positions: NDArray[np.float64], rounding: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the longest outputs that end before ``positions``, taking the share ``rounding`` of their last token."""
    lengths: NDArray[np.float64] = np.maximum(np.floor(positions - rounding), 0.0)
    return lengths


def lengths_of(forecasts: Sequence[StageForecast]) -> tuple[LengthForecast, ...]:
    """Return p50, p90 and p95 of several calls that do not run yet, in order; faster than one by one."""
    if not forecasts:
        return ()
    ends = np.linspace(0.0, 1.0, len(forecasts[0].level_map))
    levels = np.stack([np.interp(_SHARES, one.level_map, ends) for one in forecasts])
    distributions = LengthDistributions(
        np.concatenate([one.distribution.probability for one in forecasts]),
        np.concatenate([one.distribution.slope for one in forecasts]),
    )
    limits = np.array([[one.max_tokens] for one in forecasts])
    rounding = np.array([[one.rounding] for one in forecasts])
    lengths = np.minimum(_whole(distributions.quantiles(levels), rounding), limits)
    return tuple(LengthForecast(*row) for row in lengths.tolist())
