"""Notices that forecasts no longer fit what comes in."""

from __future__ import annotations

from dataclasses import dataclass

_TOLERATED = 0.1
_ALARM = 5.0


@dataclass(slots=True)
class DriftDetector:
    """Watches the calibrated scores of one group, which are uniform from 0 to 1 while forecasts fit.

    Two cumulative sums (Page 1954) grow while scores stay above, or below, one half by more than chance: after about
    a dozen outputs that all lie beyond the p95, some seventy where two in three lie beyond the median.
    Chance alone raises no alarm in a hundred thousand.
    """

    above: float = 0.0
    below: float = 0.0

    def observe(self, score: float) -> bool:
        """Take one score and tell whether it is now plain that something has changed; then watching starts anew."""
        centred = score - 0.5
        self.above = max(0.0, self.above + centred - _TOLERATED)
        self.below = max(0.0, self.below - centred - _TOLERATED)
        if max(self.above, self.below) < _ALARM:
            return False
        self.above = self.below = 0.0
        return True
