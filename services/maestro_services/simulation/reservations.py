"""Reservations by another rule than the predicted p95: by thumb, as without a predictor, or with something added."""

from __future__ import annotations

from enum import StrEnum

from maestro.costs import LengthFeatures, LengthForecast
from maestro_solver.predictor import LengthPredictor, PredictorConfig


class Generosity(StrEnum):
    """How much is reserved, whatever is predicted."""

    WHOLE_8192 = "8,192 tokens a call, prompt and output together"
    OUTPUT_4096 = "the prompt and 4,096 tokens of output"


class GenerousPredictor(LengthPredictor):
    """Learns and predicts as usual, but for the p95, which memory is reserved for: that is the rule's.

    A call that the rule has no room for, its prompt alone being longer, gets its p90.
    """

    def __init__(self, config: PredictorConfig, generosity: Generosity) -> None:
        """``generosity``: the rule."""
        super().__init__(config)
        self._generosity = generosity

    def forecast(self, features: LengthFeatures) -> LengthForecast:
        """The forecast with the rule's p95."""
        found = super().forecast(features)
        match self._generosity:
            case Generosity.WHOLE_8192:
                reserved = 8192.0 - features.prompt_tokens
            case Generosity.OUTPUT_4096:
                reserved = 4096.0
        raised = LengthForecast(found.p50_tokens, found.p90_tokens, max(found.p90_tokens, reserved))
        return raised.capped(features.max_tokens)


class CarefulPredictor(LengthPredictor):
    """Learns and predicts as usual, but for the p95, which memory is reserved for: that is so many times as long."""

    def __init__(self, config: PredictorConfig, factor: float) -> None:
        """``factor``: 1 or more."""
        super().__init__(config)
        self._factor = factor

    def forecast(self, features: LengthFeatures) -> LengthForecast:
        """The forecast with a longer p95, within what may be asked for."""
        found = super().forecast(features)
        raised = LengthForecast(found.p50_tokens, found.p90_tokens, self._factor * found.p95_tokens)
        return raised.capped(features.max_tokens)
