"""Workflows as people write them: YAML or JSON files, and networkx graphs whose nodes carry the same keys."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from maestro import validation
from maestro.document import Document, KeyPath, dotted, read_document
from maestro.errors import InvalidInputError
from maestro.problem import Problem, located, problems_of
from maestro.section import Count, Flag, NonNegativeCount, PositiveSeconds, Seconds, Section
from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, Sampling, Stage, ToolStage, WorkflowSpec

_NO_LIMITS = validation.WorkflowLimits(sys.maxsize, sys.maxsize, sys.maxsize)  # the scheduler has its own
_TAGS = ("llm stage", "tool stage")
_STEP = re.compile(r"(\w+)|\[(\d+)\]")
_FILE_KEYS = {
    "messages": ("prompt", "system"),
    "name": ("tool",),
    "duration_s": ("duration",),
    "expected_s": ("expected",),
    "deadline_after_s": ("deadline_after",),
}
"""What fields of the workflow may be called in a file instead."""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class MessageEntry(Section):
    """One chat message."""

    role: str = Field(description="system, user, assistant or tool.")
    content: str = Field(description="Text; {{stage_id.output}} quotes an earlier stage, \\{{ is a literal {{.")


class SamplingEntry(Section):
    """Sampling parameters; what is left out is the engine's default."""

    temperature: float | None = Field(default=None, description="0 is greedy; 0 to 2.")
    top_p: float | None = Field(default=None, description="Nucleus mass, over 0 to 1.")
    seed: int | None = Field(default=None, description="Seed of the request's own generator.")
    stop: Texts = Field(default=(), description="Texts at which the output stops; at most 8.")
    min_tokens: NonNegativeCount | None = Field(default=None, description="Least output, tokens; for measurements.")
    ignore_eos: Flag | None = Field(default=None, description="Go on past the end of the text; for measurements.")


class LlmEntry(Section):
    """An LLM call by an agent."""

    id: str = Field(description="Unique in the workflow: a letter, then letters, digits, '_' or '-'.")
    role: str = Field(description="The agent's role, e.g. planner.")
    models: Texts = Field(description="A model, or a list of acceptable ones, most wanted first.")
    messages: tuple[MessageEntry, ...] = Field(default=(), description="The prompt in full.")
    system: str | None = Field(default=None, description="Short for a first message of role system.")
    prompt: str | None = Field(default=None, description="Short for a last message of role user.")
    max_tokens: Count = Field(description="Upper limit of the output, tokens.")
    after: Texts = Field(default=(), description="Stages that must end before this one starts.")
    phase: str = Field(default="", description="Phase of the app, free text.")
    sampling: SamplingEntry = Field(default=SamplingEntry(), description="How tokens are drawn.")
    context_policy: ContextPolicy = Field(
        default=ContextPolicy.FAIL, description="When the prompt outgrows the context: fail or truncate_oldest."
    )

    def stage(self, after: tuple[str, ...] | None = None) -> LlmStage:
        """Return the stage; ``after`` replaces the entry's own."""
        messages = [ChatMessage(message.role, message.content) for message in self.messages]
        if self.system is not None:
            messages.insert(0, ChatMessage("system", self.system))
        if self.prompt is not None:
            messages.append(ChatMessage("user", self.prompt))
        return LlmStage(
            id=self.id,
            role=self.role,
            models=self.models,
            messages=tuple(messages),
            max_tokens=self.max_tokens,
            after=self.after if after is None else after,
            phase=self.phase,
            sampling=Sampling(**dict(self.sampling)),
            context_policy=self.context_policy,
        )


class ToolEntry(Section):
    """Work outside Maestro."""

    id: str = Field(description="Unique in the workflow: a letter, then letters, digits, '_' or '-'.")
    tool: str = Field(description="Name of the tool, for people.")
    after: Texts = Field(default=(), description="Stages that must end before this one starts.")
    duration_s: Seconds | None = Field(
        default=None, alias="duration", description="Ends by itself after this time; left out: a client completes it."
    )
    expected_s: Seconds | None = Field(
        default=None, alias="expected", description="Expected time until a client completes it, for planning."
    )

    def stage(self, after: tuple[str, ...] | None = None) -> ToolStage:
        """Return the stage; ``after`` replaces the entry's own."""
        return ToolStage(self.id, self.tool, self.after if after is None else after, self.duration_s, self.expected_s)


def _kind(value: object) -> str:
    """Tell the kinds of stages apart: a tool stage has the key tool."""
    is_tool = "tool" in value if isinstance(value, Mapping) else isinstance(value, ToolEntry)
    return _TAGS[is_tool]


StageEntry = Annotated[Annotated[LlmEntry, Tag(_TAGS[0])] | Annotated[ToolEntry, Tag(_TAGS[1])], Discriminator(_kind)]


def _utc(value: object) -> object:
    """Read a deadline; YAML's own timestamps without a zone are UTC by its rules."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise PydanticCustomError("time", "is not a time as in 2030-01-31T12:00:00Z") from error
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


class WorkflowEntry(Section):
    """What a client submits."""

    app: str = Field(description="The application the workflow belongs to.")
    tenant: str = Field(default="default", description="Who pays and competes.")
    slo_class: str = Field(default="", description="Service level of the scenario; left out: its default.")
    deadline: Annotated[datetime | None, BeforeValidator(_utc)] = Field(
        default=None, description="When it should be finished, UTC, e.g. 2030-01-31T12:00:00Z."
    )
    deadline_after_s: PositiveSeconds | None = Field(
        default=None, alias="deadline_after", description="The same from acceptance on, e.g. 2 min; one of the two."
    )
    priority: Annotated[int, Field(strict=True)] = Field(default=0, description="-100 to 100, higher is more urgent.")
    idempotency_key: str = Field(default="", description="The same key and workflow are accepted once per tenant.")
    labels: dict[str, str] = Field(default={}, description="Free annotations.")

    def workflow(self, stages: tuple[Stage, ...]) -> WorkflowSpec:
        """Return the workflow with ``stages``."""
        return WorkflowSpec(
            app=self.app,
            stages=stages,
            tenant=self.tenant,
            slo_class=self.slo_class,
            deadline=self.deadline,
            deadline_after_s=self.deadline_after_s,
            priority=self.priority,
            idempotency_key=self.idempotency_key,
            labels=self.labels,
        )


class WorkflowFile(WorkflowEntry):
    """A workflow file."""

    stages: tuple[StageEntry, ...] = Field(min_length=1, description="The stages, in any order.")


def load_workflow(path: str | Path) -> WorkflowSpec:
    """Read a YAML or JSON workflow file; raises InvalidInputError that points at file, line and key.

    The graph itself is checked where the workflow is accepted (``maestro.validation``).
    """
    return workflow_from_document(read_document(Path(path)))


def workflow_from_document(document: Document) -> WorkflowSpec:
    """Return the workflow that a document describes; raises InvalidInputError for the first problem in it."""
    try:
        return _workflow_of(document)
    except ValidationError as error:
        raise located(document, problems_of(error, _TAGS))[0] from error


def accepted_form(document: Document) -> WorkflowSpec:
    """Return the workflow that a document describes, its graph and values checked as far as a file alone allows.

    Raises InvalidInputError with line and key for the first problem in it, saying how many more there are.
    """
    problems = find_problems(document, limits=_NO_LIMITS)
    if not problems:
        return workflow_from_document(document)
    first, more = problems[0], len(problems) - 1
    if not more:
        raise first
    others = f"{more} more: maestro check {document.name}"
    remedy = f"{first.remedy}; {others}" if first.remedy else others
    raise InvalidInputError(first.field, first.problem, value=first.value, remedy=remedy)


def located_refusal(document: Document, refusal: InvalidInputError) -> InvalidInputError:
    """Return a server's refusal of the workflow that a document describes, tied to the line of what was refused."""
    return document.error(_path_of(refusal, document), refusal.problem, value=refusal.value, remedy=refusal.remedy)


def find_problems(
    document: Document,
    *,
    limits: validation.WorkflowLimits,
    models: Collection[str] | None = None,
    slo_classes: Collection[str] | None = None,
) -> tuple[InvalidInputError, ...]:
    """Return what is wrong with the workflow that a document describes, with line and key; empty where nothing is.

    Without ``models`` and ``slo_classes`` whatever names the workflow uses are fine.
    """
    try:
        spec = _workflow_of(document)
    except ValidationError as error:
        return located(document, problems_of(error, _TAGS))
    used = {model for stage in spec.stages if isinstance(stage, LlmStage) for model in stage.models}
    found = validation.find_problems(
        spec,
        limits=limits,
        models=used if models is None else models,
        slo_classes={spec.slo_class} if slo_classes is None else slo_classes,
    )
    problems = [Problem(_path_of(error, document), error.problem, error.value, error.remedy) for error in found]
    return located(document, problems)


def _workflow_of(document: Document) -> WorkflowSpec:
    """Return the workflow; raises pydantic's ValidationError where the document has another form."""
    entry = WorkflowFile.model_validate(document.data)
    return entry.workflow(tuple(stage.stage() for stage in entry.stages))


def _path_of(error: InvalidInputError, document: Document) -> KeyPath:
    """Return where in the document the field of a WorkflowSpec stands, which may have another key there."""
    path: list[str | int] = []
    for key, position in _STEP.findall(error.field):
        path.append(int(position) if position else key)
        if isinstance(path[-1], str) and tuple(path) not in document.lines:
            path[-1] = next((name for name in _FILE_KEYS.get(key, ()) if (*path[:-1], name) in document.lines), key)
    return tuple(path)


def workflow_from_graph(graph: nx.DiGraph[str]) -> WorkflowSpec:
    """Return the workflow of a DiGraph: an edge leads from each stage to those that wait for it.

    Nodes carry the keys of a stage in a workflow file (role, models, prompt, ...), or a ready stage under ``stage``;
    ``graph.graph`` carries those of the workflow (app, tenant, ...). Raises InvalidInputError that names the node.
    """
    try:
        entry = WorkflowEntry.model_validate(dict(graph.graph))
    except ValidationError as error:
        raise _graph_error("graph", error) from error
    return entry.workflow(tuple(_node_stage(graph, node, data) for node, data in graph.nodes(data=True)))


def _node_stage(graph: nx.DiGraph[str], node: str, data: Mapping[str, Any]) -> Stage:
    """Return one node's stage, its predecessors from the graph."""
    after = tuple(graph.predecessors(node))
    ready = data.get("stage")
    if isinstance(ready, LlmStage | ToolStage):
        if ready.id != node:
            raise InvalidInputError(f"nodes[{node!r}]", "has a stage of another id", value=ready.id)
        return ready if set(ready.after) == set(after) else replace(ready, after=after)
    kind = ToolEntry if "tool" in data else LlmEntry
    try:
        return kind.model_validate({**data, "id": node}).stage(after)
    except ValidationError as error:
        raise _graph_error(f"nodes[{node!r}]", error) from error


def _graph_error(where: str, error: ValidationError) -> InvalidInputError:
    """Return the first problem, named by node and attribute."""
    first = problems_of(error)[0]
    return InvalidInputError(f"{where}.{dotted(first.path)}", first.problem, value=first.value, remedy=first.remedy)
