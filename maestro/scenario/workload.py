"""Section ``workload``: the demand that offline planning (``maestro solve``) sizes the fleet for."""

from __future__ import annotations

from pydantic import Field

from maestro.section import Count, Name, Positive, PositiveSeconds, Section


class DemandSection(Section):
    """A steady stream of like requests to one model."""

    name: Name = Field(description="Name, unique.")
    model: str = Field(description="Logical model that serves it.")
    requests_per_s: Positive = Field(description="Requests per second.")
    prompt_tokens: Count = Field(description="Prompt of a request, tokens.")
    output_tokens: Count = Field(description="Output of a request, tokens.")
    max_latency_s: PositiveSeconds = Field(alias="max_latency", description="Time a request may take, e.g. 30 s.")
