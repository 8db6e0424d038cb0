"""From a workflow that has ended to the calls of a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from maestro.prompt import render
from maestro.special_tokens import SpecialTokens
from maestro.status import StageStatus, WorkflowStatus
from maestro.trace.call import Ending, TraceCall
from maestro.workflow import LlmStage, WorkflowSpec

SOURCE = "maestro"
"""What calls that a scheduler recorded name as their source."""

HEAD_CHARS = 300
"""So much of a message is kept, for predictors that read it."""

_ENDINGS = {"stop": Ending.STOP, "tool_calls": Ending.TOOL_CALL, "length": Ending.CUT}


def recorded_calls(
    spec: WorkflowSpec, status: WorkflowStatus, *, trace_start_s: float = 0.0, texts: bool = True
) -> tuple[TraceCall, ...]:
    """Return the LLM calls of a workflow that had a result, parents first; a step is a position in that order.

    ``status`` has the stages, and ``trace_start_s`` (epoch seconds) is where ``arrival_s`` counts from. ``texts``:
    whether heads of prompts are kept, or nothing of what was written. A tool is no call: what waits for one waits for
    the calls before it, and then for the tool as its ``think_time_s``.
    """
    return tuple(_Recording(spec, status, trace_start_s, texts).calls())


@dataclass(frozen=True, slots=True)
class _Recording:
    spec: WorkflowSpec
    status: WorkflowStatus
    trace_start_s: float
    texts: bool

    def calls(self) -> Iterator[TraceCall]:
        """Yield the calls, parents first."""
        stages = {stage.id: stage for stage in self.status.stages}
        steps: dict[str, int] = {}
        for stage_id in self.spec.topological_order:
            stage, found = self.spec.by_id[stage_id], stages.get(stage_id)
            if isinstance(stage, LlmStage) and found is not None and found.usage is not None:
                parents = self._calls_before(stage_id, steps)
                steps[stage_id] = len(steps)
                yield self._call(stage, stages, tuple(parents), steps)

    def _call(
        self, stage: LlmStage, stages: Mapping[str, StageStatus], parents: tuple[str, ...], steps: Mapping[str, int]
    ) -> TraceCall:
        found, accepted_s = stages[stage.id], self.status.accepted_at_s
        head, chars = self._last_message(stage, stages)
        return TraceCall(
            workflow_id=self.status.id,
            app=self.status.app,
            step=steps[stage.id],
            role=stage.role,
            phase=stage.phase,
            model=found.model,
            prompt_tokens=found.usage.prompt_tokens if found.usage else 0,
            completion_tokens=found.usage.completion_tokens if found.usage else 0,
            parents=tuple(steps[parent] for parent in parents),
            source=SOURCE,
            start_s=_since(accepted_s, found.started_at_s),
            latency_s=None if found.started_at_s is None else _since(found.started_at_s, found.ended_at_s),
            arrival_s=_since(self.trace_start_s, accepted_s),
            think_time_s=self._waited_for_tools_s(stage, stages, parents),
            prompt_head=head,
            prompt_chars=chars,
            response_chars=len(found.output),
            task=self._task(),
            ending=_ENDINGS.get(found.finish_reason, Ending.UNKNOWN),
            max_tokens=stage.max_tokens,
            ready_s=_since(accepted_s, found.ready_at_s),
            first_token_s=_since(accepted_s, found.first_token_at_s),
            accelerator=found.accelerator,
            slo_class=self.status.slo_class,
        )

    def _calls_before(self, stage_id: str, steps: Mapping[str, int]) -> list[str]:
        """The recorded calls that a stage waits for, those behind tools included, in order of their steps."""
        found: set[str] = set()
        seen: set[str] = set()
        pending = list(self.spec.by_id[stage_id].after)
        while pending:
            before = pending.pop()
            if before in steps:
                found.add(before)
            elif before not in seen:
                pending.extend(self.spec.by_id[before].after)
            seen.add(before)
        return sorted(found, key=lambda name: steps[name])

    def _waited_for_tools_s(
        self, stage: LlmStage, stages: Mapping[str, StageStatus], parents: tuple[str, ...]
    ) -> float | None:
        """How long tools held the stage up after its parents had ended; None where it waits for none."""
        if all(isinstance(self.spec.by_id[before], LlmStage) for before in stage.after):
            return None
        ends = [end for parent in parents if (end := stages[parent].ended_at_s) is not None]
        return _since(max(ends, default=self.status.accepted_at_s), stages[stage.id].ready_at_s)

    def _last_message(self, stage: LlmStage, stages: Mapping[str, StageStatus]) -> tuple[str, int | None]:
        """The beginning of the last message, with what it quotes, and its length in characters."""
        if not self.texts or not stage.messages:
            return "", None
        outputs = {name: found.output for name, found in stages.items()}
        (message,) = render(stage.messages[-1:], outputs, SpecialTokens())
        return message.content[:HEAD_CHARS], len(message.content)

    def _task(self) -> str:
        """The beginning of what the user asked: the first message by a user, of the first call."""
        for stage_id in self.spec.topological_order if self.texts else ():
            stage = self.spec.by_id[stage_id]
            for message in stage.messages if isinstance(stage, LlmStage) else ():
                if message.role == "user":
                    return message.content[:HEAD_CHARS]
        return ""


def _since(began_s: float, at_s: float | None) -> float | None:
    """Seconds from one instant to another, to a microsecond; a clock that was set back gives 0."""
    return None if at_s is None else max(0.0, round(at_s - began_s, 6))
