"""A call of an LLM as the predictor knows it: before it runs, and once it has ended."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from maestro.costs import LengthFeatures
from maestro.trace.call import Ending, TraceCall

UNLIMITED_TOKENS = 1 << 20
"""Stands for the output limit where there is none; no output is believed to be longer."""


@dataclass(frozen=True, slots=True)
class UpcomingCall:
    """All that is known of a call before it runs. What is known only afterwards has no place in it.

    ``step`` is the call's name in its workflow and ``parents`` are the steps that it waits for. ``prompt_head`` is the
    beginning of the last message, ``prompt_chars`` its length, ``task`` the beginning of what the user asked of the
    workflow. ``idle_s`` are the seconds between the end of what it waits for and its start.
    """

    app: str
    role: str
    phase: str
    model: str
    prompt_tokens: int
    step: int = 0
    parents: tuple[int, ...] = ()
    max_tokens: int = UNLIMITED_TOKENS
    prompt_head: str = ""
    prompt_chars: int | None = None
    task: str = ""
    idle_s: float | None = None

    @property
    def rounding(self) -> float:
        """A number from 0 to 1 of the call's own, as good as random, that decides how its quantiles are rounded.

        Lengths are whole, and where nearly all are 4 or 5 tokens no whole number is a p90 that covers nine in ten.
        Calls that round differently cover it between them.
        """
        return (
            zlib.crc32(f"{self.role} {self.phase} {self.step} {self.prompt_tokens}".encode("utf-8", "replace")) / 2**32
        )

    @property
    def role_features(self) -> LengthFeatures:
        """What role statistics are kept by; without the limit, which cuts outputs but does not make them shorter."""
        return LengthFeatures(self.app, self.role, self.phase, self.model, self.prompt_tokens, UNLIMITED_TOKENS)


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call and what came of it. ``ending`` CUT says that the true length is at least ``output_tokens``."""

    call: UpcomingCall
    output_tokens: int
    ending: Ending = Ending.UNKNOWN
    response_chars: int | None = None


def upcoming(call: TraceCall) -> UpcomingCall:
    """Return what was known of a recorded call before it ran."""
    return UpcomingCall(
        app=call.app,
        role=call.role,
        phase=call.phase,
        model=call.model,
        prompt_tokens=call.prompt_tokens,
        step=call.step,
        parents=call.parents,
        max_tokens=UNLIMITED_TOKENS if call.max_tokens is None else max(1, call.max_tokens),
        prompt_head=call.prompt_head,
        prompt_chars=call.prompt_chars,
        task=call.task,
        idle_s=call.think_time_s,
    )


def finished(call: TraceCall) -> FinishedCall:
    """Return a recorded call with what came of it."""
    return FinishedCall(upcoming(call), call.completion_tokens, call.ending, call.response_chars)
