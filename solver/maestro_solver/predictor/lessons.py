"""What one ended call teaches, as a value that can be kept and learnt from again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from maestro.costs import LengthFeatures, LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro_solver.predictor.call import UNLIMITED_TOKENS
from maestro_solver.predictor.forecast import StageForecast


@dataclass(frozen=True, slots=True)
class Foresight:
    """How an output's length lay in what had been forecast of it.

    ``score`` is the share of the uncalibrated distribution below the output, 0 to 1; the densities are how probable,
    per token, network and role statistics held its length.
    """

    score: float
    network_density: float
    statistics_density: float

    @classmethod
    def of(cls, forecast: StageForecast, tokens: int) -> Foresight:
        """Return how an output of ``tokens`` lay in its forecast."""
        at = np.array([float(tokens)])
        densities = (float(one.density(at)[0]) for one in (forecast.network, forecast.statistics))
        return cls(forecast.score(tokens), *densities)


@dataclass(frozen=True, slots=True)
class Lesson:
    """An output that has ended, or was cut. ``foresight`` is None where role statistics alone had forecast it."""

    observation: LengthObservation
    foresight: Foresight | None = None

    def encoded(self) -> list[object]:
        """Return it as a value that JSON can carry; ``decoded_lesson`` takes it back."""
        features, seen = self.observation.features, self.foresight
        numbers = [] if seen is None else [seen.score, seen.network_density, seen.statistics_density]
        names = [features.app, features.role, features.phase, features.model]
        return [*names, features.prompt_tokens, self.observation.output_tokens, self.observation.outcome, *numbers]


@dataclass(frozen=True, slots=True)
class Unlearnt:
    """A call that runs: what is needed to learn from it when it ends. ``foretold``: by the trained predictor."""

    features: LengthFeatures
    foretold: StageForecast | None = None

    def lesson(self, tokens: int, outcome: LengthOutcome) -> Lesson:
        """Return what an output of ``tokens`` teaches."""
        observation = LengthObservation(self.features, tokens, outcome)
        return Lesson(observation, None if self.foretold is None else Foresight.of(self.foretold, tokens))


def decoded_lesson(value: object) -> Lesson:
    """Return the lesson that ``encoded`` gave; raises InvalidInputError where ``value`` is anything else."""
    match value:
        case [str(app), str(role), str(phase), str(model), int(prompt), int(tokens), str(outcome), *numbers] if (
            prompt >= 0 and tokens >= 0 and outcome in set(LengthOutcome)
        ):
            features = LengthFeatures(app, role, phase, model, prompt, UNLIMITED_TOKENS)
            observation = LengthObservation(features, tokens, LengthOutcome(outcome))
            match numbers:
                case []:
                    return Lesson(observation)
                case [float(score), float(network), float(statistics)] if _are_foresight(score, network, statistics):
                    return Lesson(observation, Foresight(score, network, statistics))
    remedy = "start the predictor without what was stored"
    raise InvalidInputError("lesson", "is damaged or of another version", value=value, remedy=remedy)


def _are_foresight(score: float, *densities: float) -> bool:
    return 0.0 <= score <= 1.0 and all(math.isfinite(density) and density >= 0.0 for density in densities)
