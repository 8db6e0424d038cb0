"""What makes a workflow valid: each rule is one function that raises InvalidInputError with field and remedy.

Everything is linear in the workflow's size and without recursion: a workflow of six stages takes tens of
microseconds, one of ten thousand stages stays below a second.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from maestro.dag import check_graph, graph_problems
from maestro.errors import InvalidInputError
from maestro.placeholders import STAGE_ID
from maestro.workflow import LlmStage, Sampling, Stage, ToolStage, WorkflowSpec

MESSAGE_ROLES = ("system", "user", "assistant", "tool")
MAX_PRIORITY = 100
MAX_NAME_CHARS = 200
MAX_LABELS = 32
MAX_LABEL_BYTES = 256
MAX_STOP_TEXTS = 8
MAX_TOKENS_LIMIT = 2**31 - 1

_STAGE_ID = re.compile(STAGE_ID)


@dataclass(frozen=True, slots=True)
class WorkflowLimits:
    """The largest workflow that is accepted; ``text_bytes`` counts the UTF-8 text of all prompts together."""

    stages: int = 10_000
    edges: int = 50_000
    text_bytes: int = 4 * 1024 * 1024


def validate(
    spec: WorkflowSpec,
    *,
    limits: WorkflowLimits,
    models: Collection[str],
    slo_classes: Collection[str],
    now: datetime | None = None,
) -> None:
    """Raise InvalidInputError for the first rule that ``spec`` breaks.

    ``models`` and ``slo_classes`` are the names that the scenario knows. ``now`` (UTC) is the time of acceptance;
    without it a deadline is not compared with the clock.
    """
    for rule in _rules(spec, limits, models, slo_classes, now):
        rule()
    check_graph(spec.stages)


def find_problems(
    spec: WorkflowSpec,
    *,
    limits: WorkflowLimits,
    models: Collection[str],
    slo_classes: Collection[str],
) -> tuple[InvalidInputError, ...]:
    """Return the first break of every rule and in every stage, and all that is wrong with the graph.

    What it returns nothing for passes ``validate`` with the same arguments and no clock.
    """
    found = []
    for rule in _rules(spec, limits, models, slo_classes, None):
        try:
            rule()
        except InvalidInputError as problem:
            found.append(problem)
    return (*found, *graph_problems(spec.stages))


def _rules(
    spec: WorkflowSpec,
    limits: WorkflowLimits,
    models: Collection[str],
    slo_classes: Collection[str],
    now: datetime | None,
) -> Iterator[Callable[[], None]]:
    """List every rule but those of the graph, tied to what it is about."""
    yield partial(_check_names, spec, slo_classes)
    yield partial(_check_labels, spec)
    yield partial(_check_due, spec, now)
    yield partial(_check_size, spec, limits)
    for index, stage in enumerate(spec.stages):
        yield partial(_check_stage, index, stage, models)


def _check_names(spec: WorkflowSpec, slo_classes: Collection[str]) -> None:
    """Tenant, app, SLO class, priority and idempotency key."""
    for field, value in (("tenant", spec.tenant), ("app", spec.app)):
        if not value or value.isspace():
            raise InvalidInputError(field, "is required", remedy=f"name the {field} the workflow belongs to")
        _check_length(field, value)
    _check_length("idempotency_key", spec.idempotency_key)
    if spec.slo_class and spec.slo_class not in slo_classes:
        raise _unknown("slo_class", "SLO class", spec.slo_class, slo_classes)
    if not -MAX_PRIORITY <= spec.priority <= MAX_PRIORITY:
        raise InvalidInputError(
            "priority",
            f"must be from -{MAX_PRIORITY} to {MAX_PRIORITY}",
            value=spec.priority,
            remedy="higher is more urgent",
        )


def _check_length(field: str, value: str) -> None:
    if len(value) > MAX_NAME_CHARS:
        raise InvalidInputError(field, f"is longer than {MAX_NAME_CHARS} characters", value=value, remedy="shorten it")


def _check_labels(spec: WorkflowSpec) -> None:
    """Labels are few and short."""
    if len(spec.labels) > MAX_LABELS:
        raise InvalidInputError("labels", f"has over {MAX_LABELS} entries", value=len(spec.labels), remedy="drop some")
    for key, value in spec.labels.items():
        if _utf8_bytes(key) + _utf8_bytes(value) > MAX_LABEL_BYTES:
            raise InvalidInputError(
                f"labels[{key[:40]!r}]", f"key and value take over {MAX_LABEL_BYTES} bytes", remedy="shorten them"
            )


def _check_due(spec: WorkflowSpec, now: datetime | None) -> None:
    """At most one deadline, and in the future."""
    deadline, after_s = spec.deadline, spec.deadline_after_s
    if deadline is not None and after_s is not None:
        raise InvalidInputError(
            "deadline", "is given twice, as a time and as a duration", remedy="keep deadline or deadline_after_s"
        )
    if after_s is not None and not (math.isfinite(after_s) and after_s > 0):
        raise InvalidInputError("deadline_after_s", "must be over 0 seconds", value=after_s)
    if deadline is None:
        return
    if deadline.tzinfo is None:
        raise InvalidInputError("deadline", "has no time zone", value=deadline, remedy="give it in UTC, with its zone")
    if now is not None and deadline <= now:
        raise InvalidInputError(
            "deadline",
            f"has passed: it is {now.astimezone(UTC).isoformat(timespec='seconds')} now",
            value=deadline.astimezone(UTC).isoformat(timespec="seconds"),
            remedy="give a time in the future, or none",
        )


def _check_size(spec: WorkflowSpec, limits: WorkflowLimits) -> None:
    """Stages, edges and text stay within the limits."""
    if not spec.stages:
        raise InvalidInputError("stages", "the workflow is empty", remedy="give it at least one stage")
    edges = sum(len(stage.after) for stage in spec.stages)
    text_bytes = sum(_text_bytes(stage) for stage in spec.stages)
    for what, count, limit in (
        ("stages", len(spec.stages), limits.stages),
        ("dependencies", edges, limits.edges),
        ("bytes of text", text_bytes, limits.text_bytes),
    ):
        if count > limit:
            raise InvalidInputError(
                "stages",
                f"has {count} {what}, over the limit of {limit}",
                remedy="split the workflow, or raise scheduler.limits in the scenario",
            )


def _text_bytes(stage: Stage) -> int:
    """Count the UTF-8 text a client may make long at will, bytes."""
    if isinstance(stage, ToolStage):
        return _utf8_bytes(stage.name)
    total = _utf8_bytes(stage.role) + _utf8_bytes(stage.phase)
    for message in stage.messages:
        total += _utf8_bytes(message.content)
    for text in stage.sampling.stop:
        total += _utf8_bytes(text)
    return total


def _utf8_bytes(text: str) -> int:
    """Count bytes; raises InvalidInputError for what UTF-8 cannot express."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "stages", "holds a lone surrogate, which is not text", value=text, remedy="decode the text correctly"
        ) from error


def _check_stage(index: int, stage: Stage, models: Collection[str]) -> None:
    """Id and contents of one stage; its edges are the graph's matter."""
    if not _STAGE_ID.fullmatch(stage.id):
        raise InvalidInputError(
            f"stages[{index}].id",
            "is not a stage id",
            value=stage.id,
            remedy="a letter, then letters, digits, '_' or '-', at most 64 characters",
        )
    if isinstance(stage, LlmStage):
        _check_llm(f"stages[{index}]", stage, models)
    else:
        _check_tool(f"stages[{index}]", stage)


def _check_llm(field: str, stage: LlmStage, models: Collection[str]) -> None:
    """Role, models, messages, length and sampling of an LLM call."""
    if not stage.role or stage.role.isspace():
        raise InvalidInputError(
            f"{field}.role", f"stage '{stage.id}' has no role", remedy="name the agent's role, such as 'planner'"
        )
    if not stage.models:
        raise InvalidInputError(
            f"{field}.models", f"stage '{stage.id}' names no model", remedy=f"name at least one of {_listed(models)}"
        )
    for position, model in enumerate(stage.models):
        if model not in models:
            raise _unknown(f"{field}.models[{position}]", "model", model, models)
    if not stage.messages:
        raise InvalidInputError(f"{field}.messages", f"stage '{stage.id}' has no messages", remedy="give it a prompt")
    for position, message in enumerate(stage.messages):
        if message.role not in MESSAGE_ROLES:
            raise _unknown(f"{field}.messages[{position}].role", "message role", message.role, MESSAGE_ROLES)
    if not 1 <= stage.max_tokens <= MAX_TOKENS_LIMIT:
        raise InvalidInputError(f"{field}.max_tokens", "must be at least 1", value=stage.max_tokens)
    if stage.sampling != _DEFAULT_SAMPLING:
        _check_sampling(f"{field}.sampling", stage.sampling, stage.max_tokens)


_DEFAULT_SAMPLING = Sampling()


def _check_sampling(field: str, sampling: Sampling, max_tokens: int) -> None:
    """Ranges that every engine shares."""
    if sampling.temperature is not None and not 0 <= sampling.temperature <= 2:
        raise InvalidInputError(f"{field}.temperature", "must be from 0 to 2", value=sampling.temperature)
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise InvalidInputError(f"{field}.top_p", "must be over 0 and at most 1", value=sampling.top_p)
    if sampling.seed is not None and not -(2**63) <= sampling.seed < 2**63:
        raise InvalidInputError(f"{field}.seed", "must fit 64 bits", value=sampling.seed)
    if len(sampling.stop) > MAX_STOP_TEXTS or not all(sampling.stop):
        raise InvalidInputError(
            f"{field}.stop", f"must be at most {MAX_STOP_TEXTS} texts, none empty", value=list(sampling.stop)
        )
    if sampling.min_tokens is not None and not 0 <= sampling.min_tokens <= max_tokens:
        raise InvalidInputError(
            f"{field}.min_tokens", f"must be from 0 to max_tokens ({max_tokens})", value=sampling.min_tokens
        )


def _check_tool(field: str, stage: ToolStage) -> None:
    """Name and durations of a tool stage."""
    if not stage.name or stage.name.isspace():
        raise InvalidInputError(f"{field}.name", f"tool stage '{stage.id}' has no name", remedy="name the tool")
    _check_length(f"{field}.name", stage.name)
    for key, value in (("duration_s", stage.duration_s), ("expected_s", stage.expected_s)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidInputError(f"{field}.{key}", "must be 0 seconds or more", value=value)


def _unknown(field: str, what: str, value: str, known: Iterable[str]) -> InvalidInputError:
    close = difflib.get_close_matches(value[:MAX_NAME_CHARS], list(known), n=1)
    remedy = f"did you mean '{close[0]}'?" if close else f"known: {_listed(known)}"
    return InvalidInputError(field, f"unknown {what}", value=value, remedy=remedy)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:20])
