"""Conformal calibration of distributions, by group and online.

The score of an output of n tokens is the share u of its predicted distribution that lies below it. Were forecasts
right, u would be uniform. Where it is not, the level asked of the distribution for a quantile q is not q but the
q-quantile of the scores seen so far (distributional conformal prediction, Chernozhukov et al. 2021); all quantiles
are set right by the one score. Scores are counted by (), (app), (app, role) and (app, role, phase), each tempered by
the coarser one; the score of a cut output is known only to be at least what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestro_solver.predictor.drift import DriftDetector
from maestro_solver.predictor.histogram import CensoredHistogram
from maestro_solver.predictor.keys import Named

Group = tuple[str, ...]

BINS = 400
"""Scores are counted to 1/400."""

_ENDS = np.linspace(0.0, 1.0, BINS + 1)


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """How fast calibration learns and forgets.

    A group's own scores weigh against the coarser group's like their count against ``shrinkage_scores``. After
    ``half_life_scores`` further scores of a group one counts half. When its drift is noticed, what a group knew
    counts ``kept_after_drift`` of what it did.
    """

    shrinkage_scores: float = 60.0
    half_life_scores: float = 2000.0
    kept_after_drift: float = 0.05


def groups_of(call: Named) -> tuple[Group, ...]:
    """Return the groups that a call is counted in, coarse to fine."""
    return ((), (call.app,), (call.app, call.role), (call.app, call.role, call.phase))


class Calibration:
    """Scores by group, and the levels that they call for. Deterministic; not for several threads at once."""

    def __init__(self, config: CalibrationConfig | None = None) -> None:
        self._config = config or CalibrationConfig()
        self._retention = 0.5 ** (1.0 / self._config.half_life_scores)
        self._scores: dict[Group, CensoredHistogram] = {}
        self._detectors: dict[Group, DriftDetector] = {}
        self._posteriors: dict[Group, NDArray[np.float64]] = {}
        self._levels: dict[Group, NDArray[np.float64]] = {}
        self.drifts = 0

    def level_map(self, call: Named) -> NDArray[np.float64]:
        """Return the distribution function of the scores of a call's group, at BINS + 1 equal distances from 0 to 1."""
        return self._cumulative(groups_of(call))

    def observe(self, call: Named, score: float, *, censored: bool) -> None:
        """Count the score, 0 to 1, of an output that has ended."""
        groups = groups_of(call)
        shown = float(np.interp(score, _ENDS, self._cumulative(groups)))
        finest = groups[-1]
        detector = self._detectors.setdefault(finest, DriftDetector())
        drifted = not censored and detector.observe(shown)
        for group in groups:
            histogram = self._scores.setdefault(group, _empty())
            if drifted and group == finest:
                histogram.complete *= self._config.kept_after_drift
                histogram.censored *= self._config.kept_after_drift
            histogram.add(min(int(score * BINS), BINS - 1), censored=censored, retention=self._retention)
        self.drifts += drifted
        self._posteriors.clear()
        self._levels.clear()

    def histograms(self) -> Mapping[Group, CensoredHistogram]:
        """Return the counts of every group, to be stored."""
        return self._scores

    def watched(self) -> Mapping[Group, tuple[float, float]]:
        """Return how far each group's drift detector has come, above and below, to be stored."""
        return {group: (detector.above, detector.below) for group, detector in self._detectors.items()}

    @classmethod
    def of(
        cls,
        histograms: Mapping[Group, CensoredHistogram],
        watched: Mapping[Group, tuple[float, float]] | None = None,
        drifts: int = 0,
    ) -> Calibration:
        """Return a calibration that goes on from what was stored."""
        calibration = cls()
        calibration._scores.update(histograms)
        calibration._detectors.update({group: DriftDetector(*sums) for group, sums in (watched or {}).items()})
        calibration.drifts = drifts
        return calibration

    def _cumulative(self, groups: tuple[Group, ...]) -> NDArray[np.float64]:
        """Return the distribution function of a group's scores at the bins' ends, from 0 at 0 to 1 at 1."""
        known = self._levels.get(groups[-1])
        if known is None:
            rising = np.concatenate(([0.0], np.cumsum(self._posterior(groups)))) + 1e-9 * _ENDS
            known = rising / rising[-1]  # strictly rising, so that it can be inverted
            self._levels[groups[-1]] = known
        return known

    def _posterior(self, groups: tuple[Group, ...]) -> NDArray[np.float64]:
        """Return the probability of each bin at the last of ``groups`` (coarse to fine), kept until ``observe``."""
        current = np.full(BINS, 1.0 / BINS)
        for group in groups:
            histogram = self._scores.get(group)
            if histogram is not None:
                if group not in self._posteriors:
                    self._posteriors[group] = histogram.posterior(current, self._config.shrinkage_scores)
                current = self._posteriors[group]
        return current


def _empty() -> CensoredHistogram:
    return CensoredHistogram(np.zeros(BINS), np.zeros(BINS))
