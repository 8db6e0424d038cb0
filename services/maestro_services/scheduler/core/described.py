"""A stage of a workflow in the predictor's terms: what is known of a call before it runs, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.placeholders import Literal, parse
from maestro.status import StageState
from maestro.trace.call import Ending
from maestro.workflow import LlmStage, WorkflowSpec
from maestro_services.scheduler.core.lengths import StageCall
from maestro_services.scheduler.core.prompts import CHARS_PER_TOKEN
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_solver.predictor.call import FinishedCall, UpcomingCall

HEAD_CHARS = 240
"""What is read of the last message: as much as the traces hold that the predictor was trained on."""

_ENDINGS = {"stop": Ending.STOP, "tool_calls": Ending.TOOL_CALL, "length": Ending.CUT}


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the calls of a workflow stand in it: a number each, and the calls that each one waits for.

    A call waits for another through tools, too.
    """

    steps: dict[str, int]
    parents: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, spec: WorkflowSpec) -> Positions:
        """The positions in a workflow."""
        steps: dict[str, int] = {}
        reached: dict[str, tuple[str, ...]] = {}
        for stage_id in spec.topological_order:
            stage = spec.by_id[stage_id]
            found: dict[str, None] = {}
            for before in stage.after:
                is_call = isinstance(spec.by_id[before], LlmStage)
                found.update(dict.fromkeys((before,) if is_call else reached[before]))
            reached[stage_id] = tuple(found)
            if isinstance(stage, LlmStage):
                steps[stage_id] = len(steps)
        return cls(steps, {stage_id: reached[stage_id] for stage_id in steps})


def upcoming_call(call: StageCall, positions: Positions) -> UpcomingCall:
    """What is known of a call before it runs."""
    workflow, stage, spec = call.workflow, call.stage, call.stage.llm
    head, chars = _last_message(workflow, spec)
    parents = positions.parents[spec.id]
    return UpcomingCall(
        app=workflow.spec.app,
        role=spec.role,
        phase=spec.phase,
        model=call.model,
        prompt_tokens=call.prompt_tokens,
        step=positions.steps[spec.id],
        parents=tuple(positions.steps[parent] for parent in parents),
        max_tokens=spec.max_tokens,
        prompt_head=head,
        prompt_chars=chars,
        idle_s=_idle_s(workflow, stage, parents),
    )


def finished_call(call: StageCall, positions: Positions, *, cut: bool) -> FinishedCall:
    """A call with its result."""
    stage, usage = call.stage, call.stage.usage
    if usage is None:
        raise ValueError(f"{stage.key} has no result")
    ending = Ending.CUT if cut else _ENDINGS.get(stage.finish_reason, Ending.UNKNOWN)
    return FinishedCall(upcoming_call(call, positions), usage.completion_tokens, ending, len(stage.output))


def ended_calls(workflow: WorkflowRecord) -> list[StageCall]:
    """The calls of a workflow that have their results, in the order in which they ended."""
    ended = [
        (stage.ended_at_s or 0.0, index, StageCall(workflow, stage, stage.model, stage.usage.prompt_tokens))
        for index, stage in enumerate(workflow.stages.values())
        if stage.state is StageState.SUCCEEDED and stage.usage is not None and isinstance(stage.spec, LlmStage)
    ]
    return [call for _, _, call in sorted(ended, key=lambda entry: entry[:2])]


def _last_message(workflow: WorkflowRecord, spec: LlmStage) -> tuple[str, int | None]:
    """The head of the call's last message and its length, characters; what it quotes counts as long as expected.

    A stage without messages is one whose text nobody knows.
    """
    if not spec.messages:
        return "", None
    head, chars = "", 0
    for part in parse(spec.messages[-1].content):
        if isinstance(part, Literal):
            text = part.text
        else:
            quoted = workflow.stages[part.stage]
            text = quoted.output
            chars += 0 if text else round(quoted.expected_tokens * CHARS_PER_TOKEN)
        chars += len(text)
        head += text[: HEAD_CHARS - len(head)]
    return head, chars


def _idle_s(workflow: WorkflowRecord, stage: StageRecord, parents: tuple[str, ...]) -> float | None:
    """Seconds between the end of the calls that a ready stage waited for and its turn, where tools were at work."""
    ends = [workflow.stages[parent].ended_at_s for parent in parents]
    latest = max((end for end in ends if end is not None), default=None)
    if stage.ready_at_s is None or latest is None or set(parents) == set(stage.spec.after):
        return None
    return max(0.0, stage.ready_at_s - latest)
