"""Section ``planner``: how long and how far ahead a plan is made, and when a new one is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maestro.section import Count, Flag, NonNegativeCount, Positive, PositiveSeconds, Seconds, Section


class PlannerSection(Section):
    """What plans decide, and the planner's limits."""

    decides: Literal["stages", "residency"] = Field(
        default="residency",
        description="residency: which models are where, by the demand of all accepted work, and ready stages start at "
        "once in order of urgency; stages: the exact model gives each stage its place and its turn as well, for small "
        "fleets.",
    )
    limit_s: PositiveSeconds = Field(
        default=1.0, alias="limit", description="Hard wall-clock limit of one planning run, e.g. 1 s."
    )
    horizon_s: PositiveSeconds = Field(
        default=120.0, alias="horizon", description="How far a plan looks ahead, e.g. 2 min."
    )
    tick_s: PositiveSeconds = Field(
        default=0.1, alias="tick", description="Time grid of the exact model, e.g. 100 ms; coarser is faster."
    )
    min_interval_s: Seconds = Field(
        default=0.5, alias="min_interval", description="Least time between two planning runs, e.g. 500 ms."
    )
    commit_window_s: Seconds = Field(
        default=2.0,
        alias="commit_window",
        description="What is to start, or to be loaded, within this time is not moved by another plan, e.g. 2 s.",
    )
    starvation_after_s: PositiveSeconds | None = Field(
        default=None,
        alias="starvation_after",
        description="A stage that has been ready for so long goes before all that have not, e.g. 10 min; left out: "
        "none does, which meets more deadlines under overload.",
    )
    max_stages: Count = Field(
        default=400,
        description="Where plans decide stages: waiting stages in a snapshot at most; the most urgent are taken.",
    )
    max_exact_stages: NonNegativeCount = Field(
        default=60,
        description="Where plans decide stages: up to so many waiting ones the exact model is tried; 0: never.",
    )
    workers: Count = Field(default=2, description="Threads of the solver.")
    seed: NonNegativeCount = Field(default=1, description="Seed of the solver's random choices.")
    deterministic: Flag = Field(
        default=False,
        description="Equal snapshots give equal plans: one thread, and the limit counts in the solver's deterministic "
        "time. For replays; the wall-clock limit still ends what takes longer.",
    )
    drift: Positive = Field(
        default=0.3,
        description="A stage that outlasts its slow prediction (p90) by this share triggers a new plan, e.g. 0.3.",
    )
