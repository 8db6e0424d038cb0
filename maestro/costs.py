"""What a stage is predicted to cost, and what it was seen to cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class LengthForecast:
    """Predicted output length of one LLM stage, in tokens, as quantiles (p50 <= p90 <= p95)."""

    p50_tokens: float
    p90_tokens: float
    p95_tokens: float

    def capped(self, limit_tokens: int) -> LengthForecast:
        """The same forecast for an output that is cut at ``limit_tokens``."""
        return LengthForecast(
            min(self.p50_tokens, limit_tokens), min(self.p90_tokens, limit_tokens), min(self.p95_tokens, limit_tokens)
        )


class LengthOutcome(StrEnum):
    """How an observed length relates to the true one."""

    COMPLETE = "complete"  # the model stopped by itself
    CENSORED = "censored"  # cut by max_tokens, or cancelled: the true length is at least what was seen


@dataclass(frozen=True, slots=True)
class CoverageCounts:
    """Of how many ``outputs`` that ended by themselves how many were within what had been forecast of them."""

    outputs: int = 0
    within_p50: int = 0
    within_p90: int = 0
    within_p95: int = 0

    def counted(self, forecast: LengthForecast, tokens: int) -> CoverageCounts:
        """The counts with one more output."""
        return CoverageCounts(
            self.outputs + 1,
            self.within_p50 + (tokens <= forecast.p50_tokens),
            self.within_p90 + (tokens <= forecast.p90_tokens),
            self.within_p95 + (tokens <= forecast.p95_tokens),
        )


@dataclass(frozen=True, slots=True)
class PredictorReport:
    """What forecasts output lengths, ``trained`` or ``role_statistics``, and how it did since the scheduler started.

    ``fallback_reason`` says why role statistics stand in for the trained predictor; empty where they do not.
    ``drifts`` counts how often a group of calls was noticed to behave in another way than before.
    """

    source: str
    fallback_reason: str
    drifts: int
    coverage: CoverageCounts


@dataclass(frozen=True, slots=True)
class LengthFeatures:
    """What is known about an LLM stage before it runs."""

    app: str
    role: str
    phase: str
    model: str
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class LengthObservation:
    """One finished (or cut) LLM stage, as the predictor learns from it."""

    features: LengthFeatures
    output_tokens: int
    outcome: LengthOutcome
