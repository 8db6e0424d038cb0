"""One recorded LLM call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from maestro.costs import LengthOutcome


class Ending(StrEnum):
    """Why the output of a call ended."""

    STOP = "stop"  # the model ended its answer
    TOOL_CALL = "tool_call"  # the model asked for a tool
    CUT = "cut"  # max_tokens was reached, or the call was cancelled
    UNKNOWN = "unknown"  # the trace does not say


@dataclass(frozen=True, slots=True)
class TraceCall:
    """One LLM call of a workflow, as it was recorded.

    ``step`` orders the calls of a workflow and ``parents`` are steps of earlier ones. ``prompt_tokens`` is the whole
    context. ``start_s`` counts from the workflow's start and ``arrival_s`` from the trace's. ``prompt_head`` is the
    beginning of the last message and ``prompt_chars`` that message's length; ``task`` is the beginning of what the
    user asked of the workflow. Of all fields, ``completion_tokens``, ``response_chars``, ``latency_s``,
    ``first_token_s`` and ``ending`` are known only once the call has ended.

    A trace that a scheduler recorded also says when all parents had ended (``ready_s``) and when the first token came
    (``first_token_s``), both from the workflow's start, which ``accelerator`` ran the call, and the ``slo_class``.
    """

    workflow_id: str
    app: str
    step: int
    role: str
    phase: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    parents: tuple[int, ...] = ()
    source: str = ""
    start_s: float | None = None
    latency_s: float | None = None
    arrival_s: float | None = None
    think_time_s: float | None = None
    prompt_head: str = ""
    prompt_chars: int | None = None
    response_chars: int | None = None
    task: str = ""
    task_id: str = ""
    ending: Ending = Ending.UNKNOWN
    max_tokens: int | None = None
    ready_s: float | None = None
    first_token_s: float | None = None
    accelerator: str = ""
    slo_class: str = ""

    @property
    def outcome(self) -> LengthOutcome:
        """Whether the length is the whole one, or the output was cut and would have gone on."""
        return LengthOutcome.CENSORED if self.ending is Ending.CUT else LengthOutcome.COMPLETE
