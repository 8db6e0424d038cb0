"""Section ``scheduler``: where it listens, what it stores, what it accepts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maestro.address import DEFAULT_SCHEDULER_ADDRESS
from maestro.section import Address, Count, PositiveBytes, PositiveSeconds, RelativePath, Seconds, Section
from maestro.validation import WorkflowLimits

_DEFAULT = WorkflowLimits()


class LimitsSection(Section):
    """Bounds on one submission."""

    stages: Count = Field(default=_DEFAULT.stages, description="Stages of a workflow.")
    edges: Count = Field(default=_DEFAULT.edges, description="Dependencies of a workflow.")
    text_bytes: PositiveBytes = Field(
        default=_DEFAULT.text_bytes,
        alias="bytes",
        description="UTF-8 text of a workflow, all prompts together, e.g. 4 MiB.",
    )

    def limits(self) -> WorkflowLimits:
        """Return the same as validation takes them."""
        return WorkflowLimits(stages=self.stages, edges=self.edges, text_bytes=self.text_bytes)


class SchedulerSection(Section):
    """Settings of the scheduler's service."""

    listen: Address = Field(default=DEFAULT_SCHEDULER_ADDRESS, description="host:port of the scheduler's gRPC service.")
    store: RelativePath = Field(
        validate_default=True, default="maestro.sqlite", description="SQLite file; relative to the scenario file."
    )
    store_synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="full: an accepted workflow survives a power failure; normal: a crash of the process only.",
    )
    submit_queue: Count = Field(
        default=1024, description="Workflows that may wait to be committed; beyond it: overloaded."
    )
    max_attempts: Count = Field(default=3, description="Failed attempts of a stage before it fails for good.")
    max_losses: Count = Field(
        default=10,
        description="Attempts of a stage lost with their nodes before it fails for good; they do not count as failed.",
    )
    retry_backoff_s: Seconds = Field(
        default=1.0,
        alias="retry_backoff",
        description="Wait before the second attempt, doubled each further time, e.g. 1 s.",
    )
    lease_ttl_s: PositiveSeconds = Field(
        default=10.0, alias="lease_ttl", description="A node not heard of for this long counts as lost, e.g. 10 s."
    )
    watcher_buffer: Count = Field(default=1024, description="Events kept for one slow watcher before it is sent away.")
    limits: LimitsSection = Field(default=LimitsSection(), description="The largest workflow that is accepted.")
    tool_expected_s: PositiveSeconds = Field(
        default=5.0, alias="tool_expected", description="Expected time of a tool stage that does not say, e.g. 5 s."
    )
