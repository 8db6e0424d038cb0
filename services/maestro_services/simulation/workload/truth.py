"""What is true of a workflow and hidden from the scheduler until it has happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maestro.workflow import WorkflowSpec


@dataclass(frozen=True, slots=True)
class Truth:
    """One stage: its true lengths in tokens, and by what factors its engine takes longer than the model says."""

    prompt_tokens: int
    output_tokens: int
    prefill_factor: float
    decode_factor: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A workflow that is submitted at an instant, with the truth about its stages, by id."""

    id: str
    at_s: float
    spec: WorkflowSpec
    truths: Mapping[str, Truth]
    deadline_after_s: float
