"""How much longer engines take than the performance model says of a stage alone: learnt from every result.

Predictions are made for a stage that has its accelerator to itself. Under load it shares: batches, neighbours and
prompts that are read one after the other stretch it, by as much as they did lately.
"""

from __future__ import annotations

WEIGHT_OF_ONE = 0.05
"""What one result counts against those before it."""

LEAST, MOST = 0.5, 20.0
"""What a single result may say."""


class Pace:
    """Moving averages of the ratio of measured to predicted time, by model and kind of accelerator."""

    def __init__(self) -> None:
        """Nothing was seen: predictions stand as they are."""
        self._ratios: dict[tuple[str, str], float] = {}
        self._overall = 1.0

    def observe(self, model: str, kind: str, predicted_s: float, measured_s: float) -> None:
        """A stage has ended; ``predicted_s`` is what its true lengths would take alone."""
        if predicted_s <= 0.0:
            return
        ratio = min(MOST, max(LEAST, measured_s / predicted_s))
        known = self._ratios.get((model, kind), 1.0)
        self._ratios[model, kind] = known + WEIGHT_OF_ONE * (ratio - known)
        self._overall += WEIGHT_OF_ONE * (ratio - self._overall)

    def of(self, model: str, kind: str) -> float:
        """By what factor a stage's time alone is to be stretched there."""
        return self._ratios.get((model, kind), 1.0)

    def of_model(self, model: str) -> float:
        """The same on average over the kinds it was seen on."""
        ratios = [ratio for (name, _), ratio in self._ratios.items() if name == model]
        return sum(ratios) / len(ratios) if ratios else 1.0

    @property
    def overall(self) -> float:
        """The same for work of which it is not known where it will run."""
        return self._overall
