"""Section ``predictor``: output lengths before anything was observed, and how fast observations outweigh that."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from maestro.costs import LengthForecast
from maestro.performance import ReservationQuantile
from maestro.section import NonNegative, Positive, RelativePath, Section


class PriorSection(Section):
    """Output length of a stage of which nothing is known."""

    p50_tokens: Positive = Field(alias="p50", description="Median, tokens.")
    p90_tokens: Positive = Field(alias="p90", description="90th percentile, tokens.")
    p95_tokens: Positive = Field(alias="p95", description="95th percentile, tokens.")

    @model_validator(mode="after")
    def _in_order(self) -> PriorSection:
        if not self.p50_tokens <= self.p90_tokens <= self.p95_tokens:
            raise PydanticCustomError("order", "quantiles must not fall: p50 <= p90 <= p95")
        return self

    def forecast(self) -> LengthForecast:
        """Return the same as the predictor takes it."""
        return LengthForecast(self.p50_tokens, self.p90_tokens, self.p95_tokens)


class PredictorSection(Section):
    """Settings of the output-length predictor."""

    forecasts: Literal["trained", "role_statistics"] = Field(
        default="trained",
        description="trained: by a network that reads the call and its workflow so far, calibrated online; "
        "role_statistics: by what calls of the same role produced before.",
    )
    artefact: RelativePath | None = Field(
        default=None,
        description="Folder that `maestro predictor train` wrote, relative to the scenario file; without it the "
        "network that ships with Maestro.",
    )
    prior: PriorSection = Field(
        default=PriorSection(p50=150.0, p90=400.0, p95=600.0),
        description="Output length where nothing was observed yet.",
    )
    shrinkage: NonNegative = Field(
        default=5.0, description="Observations after which a group's own figures weigh as much as the coarser group's."
    )
    reservation_quantile: ReservationQuantile = Field(
        default=ReservationQuantile.P95,
        description="Quantile of the length that KV memory is reserved for: p50, p90, p95.",
    )
