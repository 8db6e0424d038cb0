"""Predictors that only a simulation can have: one that knows, one that learns nothing, and one that is off."""

from __future__ import annotations

from collections.abc import Callable

from maestro.costs import LengthFeatures, LengthForecast, LengthObservation
from maestro_solver.predictor import LengthPredictor, PredictorConfig


class TrueLengths(LengthPredictor):
    """The oracle: forecasts are the true lengths. Phases have to name their stages."""

    def __init__(self, length_of: Callable[[str], int]) -> None:
        """``length_of`` gives the true length of a stage, by ``workflow/stage``."""
        super().__init__()
        self._length_of = length_of

    def forecast(self, features: LengthFeatures) -> LengthForecast:
        """The true length, as every quantile."""
        tokens = float(min(self._length_of(features.phase), features.max_tokens))
        return LengthForecast(tokens, tokens, tokens)

    def observe(self, observation: LengthObservation) -> None:
        """There is nothing to learn."""


class UnlearningPredictor(LengthPredictor):
    """Forecasts the scenario's prior for every stage, for ever."""

    def observe(self, observation: LengthObservation) -> None:
        """Learns nothing."""


class BiasedPredictor(LengthPredictor):
    """Learns as usual; every forecast is then off by a factor."""

    def __init__(self, config: PredictorConfig, factor: float) -> None:
        """``factor``: 0.5 halves all forecasts, 2 doubles them."""
        super().__init__(config)
        self._factor = factor

    def forecast(self, features: LengthFeatures) -> LengthForecast:
        """The forecast, off by the factor."""
        found = super().forecast(features)
        return LengthForecast(
            found.p50_tokens * self._factor, found.p90_tokens * self._factor, found.p95_tokens * self._factor
        ).capped(features.max_tokens)
