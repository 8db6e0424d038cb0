"""Output lengths by role: a histogram per key, each tempered by the coarser keys above it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from maestro.costs import LengthFeatures, LengthForecast, LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro_solver.predictor import state as stored
from maestro_solver.predictor.buckets import MAX_TOKENS, Weights, bucket_of, quantile_tokens, spread_over
from maestro_solver.predictor.histogram import CensoredHistogram
from maestro_solver.predictor.keys import DEPTH, Key, keys_of

DEFAULT_PRIOR = LengthForecast(p50_tokens=150.0, p90_tokens=400.0, p95_tokens=600.0)

_LEAST_SHRINKAGE = 1e-6
"""Outweighed by any output, yet enough to lend a key its parent's tail where all of its own outputs were cut."""


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """What the predictor assumes before it has seen anything, and how much it keeps.

    ``prior`` are the lengths expected where nothing is known. A key's own outputs weigh against what the coarser
    key says like their count against ``shrinkage_outputs`` (0: a key's own outputs decide, few as they may be).
    ``half_life_outputs`` is the number of further outputs of a key after which an output counts half (None: nothing
    fades, and forecasts do not depend on the order of observations). At most ``max_keys`` keys are kept, about
    5 KB each; beyond, the one that has gone longest without an observation is forgotten.
    """

    prior: LengthForecast = DEFAULT_PRIOR
    shrinkage_outputs: float = 5.0
    half_life_outputs: float | None = 1000.0
    max_keys: int = 4096

    def __post_init__(self) -> None:
        """Refuse values that no forecast can be made with."""
        prior = self.prior
        if not 0 < prior.p50_tokens <= prior.p90_tokens <= prior.p95_tokens <= MAX_TOKENS:
            raise InvalidInputError(
                "prior", f"must hold quantiles above 0 that do not fall and do not pass {MAX_TOKENS}", value=prior
            )
        if not 0 <= self.shrinkage_outputs < math.inf:
            raise InvalidInputError(
                "shrinkage_outputs", "must be a finite number, 0 or more", value=self.shrinkage_outputs
            )
        if self.half_life_outputs is not None and not 0 < self.half_life_outputs < math.inf:
            raise InvalidInputError(
                "half_life_outputs", "must be a finite number above 0, or None", value=self.half_life_outputs
            )
        if self.max_keys < DEPTH:
            raise InvalidInputError(
                "max_keys", f"must be {DEPTH} or more, so that one stage's keys fit", value=self.max_keys
            )


class LengthPredictor:
    """Forecasts output lengths from the outputs seen so far.

    A stage's histogram is looked up at (app, role, phase, model), (app, role, phase), (app, role), (role) and ().
    The forecast starts from the prior and is updated level by level, coarse to fine, so that a role never seen
    forecasts what its application's or all stages' outputs look like, and a well-known one its own distribution.
    Censored outputs are known only to be at least as long as seen (see ``CensoredHistogram.posterior``).

    Deterministic, in memory, no clock: the same observations in the same order give the same forecasts.
    Not safe to use from several threads at once.
    """

    def __init__(self, config: PredictorConfig | None = None) -> None:
        self._config = config or PredictorConfig()
        self._prior = spread_over(self._config.prior)
        half_life = self._config.half_life_outputs
        self._retention = 1.0 if half_life is None else 0.5 ** (1.0 / half_life)
        self._histograms: OrderedDict[Key, CensoredHistogram] = OrderedDict()
        self._posteriors: dict[Key, Weights] = {}
        self._forecasts: dict[Key, LengthForecast] = {}

    @property
    def key_count(self) -> int:
        """How many keys are held, ``max_keys`` at most."""
        return len(self._histograms)

    def forecast(self, features: LengthFeatures) -> LengthForecast:
        """Return the p50, p90 and p95 of the output's length, none above ``max_tokens``, in ascending order.

        Raises InvalidInputError for a ``max_tokens`` below 1 or a negative ``prompt_tokens``.
        """
        _check_features(features)
        keys = keys_of(features)
        known = self._forecasts.get(keys[-1])
        if known is None:
            cumulative = self._posterior(keys).cumsum()
            known = LengthForecast(*(quantile_tokens(cumulative, quantile) for quantile in (0.5, 0.9, 0.95)))
            if len(self._forecasts) >= self._config.max_keys:
                self._forecasts.clear()
            self._forecasts[keys[-1]] = known
        return known.capped(features.max_tokens)

    def probabilities(self, features: LengthFeatures) -> Weights:
        """Return the probability of each bucket of lengths, whatever ``max_tokens`` is; errors as for ``forecast``."""
        _check_features(features)
        return self._posterior(keys_of(features))

    def forecast_many(self, features: Iterable[LengthFeatures]) -> tuple[LengthForecast, ...]:
        """Return a forecast for each of ``features``, in order; errors as for ``forecast``."""
        return tuple(self.forecast(one) for one in features)

    def observe(self, observation: LengthObservation) -> None:
        """Learn from one finished or cut stage.

        Raises InvalidInputError, and learns nothing, for a length that is not a whole number from 0 to MAX_TOKENS.
        """
        _check_features(observation.features)
        tokens = _checked_length(observation.output_tokens)
        censored = observation.outcome is LengthOutcome.CENSORED
        if censored and tokens == 0:
            return  # 'at least 0 tokens' says nothing
        bucket = bucket_of(tokens)
        for key in reversed(keys_of(observation.features)):  # coarse keys last: they are forgotten last
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = CensoredHistogram()
            histogram.add(bucket, censored=censored, retention=self._retention)
            self._histograms.move_to_end(key)
        while len(self._histograms) > self._config.max_keys:
            self._histograms.popitem(last=False)
        self._posteriors.clear()
        self._forecasts.clear()

    def state(self) -> dict[str, object]:
        """Return all that was learnt as a value that JSON can carry; ``from_state`` takes it back."""
        return stored.encode(self._histograms)

    @classmethod
    def from_state(cls, state: object, config: PredictorConfig | None = None) -> LengthPredictor:
        """Return a predictor that knows what ``state`` says, of the keys observed last as many as ``config`` allows.

        Raises InvalidInputError for a state that is truncated, damaged or of another version.
        """
        predictor = cls(config)
        histograms = list(stored.decode(state).items())
        predictor._histograms.update(histograms[-predictor._config.max_keys :])
        return predictor

    def _posterior(self, keys: tuple[Key, ...]) -> Weights:
        """Return the distribution at the last of ``keys`` (coarse to fine); results are kept until ``observe``."""
        current = self._prior
        for key in keys:
            histogram = self._histograms.get(key)
            if histogram is None:
                continue
            known = self._posteriors.get(key)
            if known is None:
                known = histogram.posterior(current, max(self._config.shrinkage_outputs, _LEAST_SHRINKAGE))
                self._posteriors[key] = known
            current = known
        return current


def _check_features(features: LengthFeatures) -> None:
    if features.max_tokens < 1:
        raise InvalidInputError("max_tokens", "must be 1 or more", value=features.max_tokens)
    if features.prompt_tokens < 0:
        raise InvalidInputError("prompt_tokens", "must be 0 or more", value=features.prompt_tokens)


def _checked_length(tokens: object) -> int:
    """Return ``tokens`` if it is a length that an output can have."""
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens <= MAX_TOKENS:
        raise InvalidInputError(
            "output_tokens",
            f"must be a whole number from 0 to {MAX_TOKENS}",
            value=tokens,
            remedy="leave the observation out",
        )
    return tokens
