"""A histogram of output lengths, some of them censored, and what it says once it is tempered by a prior."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from maestro_solver.predictor.buckets import BUCKETS, Weights

_LEAST = 1e-300
"""Stands in for a denominator of zero, where the numerator is zero too."""


def _empty() -> Weights:
    return np.zeros(BUCKETS)


@dataclass(slots=True)
class CensoredHistogram:
    """Counts per bucket: outputs that ended by themselves, and outputs that were cut and would have gone on."""

    complete: Weights = field(default_factory=_empty)
    censored: Weights = field(default_factory=_empty)

    def add(self, bucket: int, *, censored: bool, retention: float = 1.0) -> None:
        """Count one output, after everything counted before has been scaled by ``retention`` (1: nothing fades)."""
        if retention < 1.0:
            self.complete *= retention
            self.censored *= retention
        counts = self.censored if censored else self.complete
        counts[bucket] += 1.0

    def posterior(self, prior: Weights, prior_weight: float) -> Weights:
        """Return the probability of each bucket, given these counts and a prior worth ``prior_weight`` outputs.

        With d_i outputs that ended in bucket i, r_i that reached it (censored ones count as having reached their
        own bucket and nothing beyond), prior probability p_i and prior survival s_i (mass of bucket i and above),
        the chance to end in bucket i once it is reached is

            h_i = (prior_weight * p_i + d_i) / (prior_weight * s_i + r_i)

        the posterior mean under a beta-Stacy process (Walker and Muliere, 1997). Without censoring it is the
        count-weighted mean of prior and histogram; as counts grow it becomes the Kaplan-Meier estimate; beyond
        the longest output that was seen whole, where that estimate is undefined, it follows the prior's tail.
        """
        reached = _from_here_on(self.complete + self.censored)
        weighted = prior_weight * prior
        expected = np.maximum(_from_here_on(weighted) + reached, _LEAST)
        hazard = (weighted + self.complete) / expected
        hazard[-1] = 1.0
        survival = (1.0 - np.minimum(hazard, 1.0)).cumprod()
        posterior: Weights = np.empty_like(survival)
        posterior[0] = 1.0 - survival[0]
        np.subtract(survival[:-1], survival[1:], posterior[1:])
        return posterior


def _from_here_on(weights: Weights) -> Weights:
    """Sum each bucket's weight with those of all buckets above it."""
    return weights[::-1].cumsum()[::-1]
