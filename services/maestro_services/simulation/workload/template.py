"""The shape of a workflow: what a trace says of it, or a family makes up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from maestro.trace import TraceCall


@dataclass(frozen=True, slots=True)
class TemplateStage:
    """One call: ``parents`` are ids of earlier stages; ``pause_s`` passes outside before it can start."""

    id: str
    role: str
    phase: str
    parents: tuple[str, ...]
    prompt_tokens: int
    output_tokens: int
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Template:
    """A workflow's stages, parents first."""

    app: str
    stages: tuple[TemplateStage, ...]


def templates_of(calls: Iterable[TraceCall]) -> tuple[Template, ...]:
    """The workflows of a trace, in the order in which they first appear; calls of no output are left out.

    A call that waits for one that was left out waits for that one's parents instead.
    """
    workflows: dict[str, list[TraceCall]] = defaultdict(list)
    for call in calls:
        workflows[call.workflow_id].append(call)
    found = (_template(members) for members in workflows.values())
    return tuple(template for template in found if template.stages)


def _template(calls: list[TraceCall]) -> Template:
    by_step = {call.step: call for call in calls}
    stages = []
    for call in _parents_first(by_step):
        if call.completion_tokens > 0:
            parents = sorted(_parents(call, by_step))
            stages.append(
                TemplateStage(
                    id=f"s{call.step}",
                    role=call.role,
                    phase=call.phase,
                    parents=tuple(f"s{step}" for step in parents),
                    prompt_tokens=max(1, call.prompt_tokens),
                    output_tokens=call.completion_tokens,
                    pause_s=call.think_time_s or 0.0,
                )
            )
    return Template(calls[0].app, tuple(stages))


def _parents_first(by_step: dict[int, TraceCall]) -> list[TraceCall]:
    order: list[TraceCall] = []
    done: set[int] = set()
    pending = sorted(by_step, reverse=True)
    while pending:
        step = pending[-1]
        missing = [before for before in by_step[step].parents if before not in done]
        if step in done:
            pending.pop()
        elif missing:
            pending.extend(missing)
        else:
            done.add(step)
            order.append(by_step[pending.pop()])
    return order


def _parents(call: TraceCall, by_step: dict[int, TraceCall]) -> set[int]:
    found: set[int] = set()
    pending, seen = list(call.parents), set[int]()
    while pending:
        step = pending.pop()
        if step in seen:
            continue
        seen.add(step)
        if by_step[step].completion_tokens > 0:
            found.add(step)
        else:
            pending.extend(by_step[step].parents)
    return found
