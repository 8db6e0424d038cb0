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
