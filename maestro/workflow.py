"""A workflow: a DAG of stages submitted by a client, each an LLM call by an agent or a tool call.

The types here are what users build and what every part of Maestro passes on; ``maestro.validation`` says what makes
one valid, ``maestro.codec`` turns it into its wire form and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

import networkx as nx


class ContextPolicy(StrEnum):
    """What happens when a prompt and its output would not fit the model's context."""

    FAIL = "fail"
    TRUNCATE_OLDEST = "truncate_oldest"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One chat message. ``content`` may quote earlier stages' outputs as ``{{stage_id.output}}``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; None leaves the engine's default.

    ``min_tokens`` and ``ignore_eos`` force lengths and serve measurements.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_tokens: int | None = None
    ignore_eos: bool | None = None


@dataclass(frozen=True, slots=True)
class LlmStage:
    """A chat completion by an agent of ``role``, on the first of ``models`` that suits the plan.

    ``max_tokens`` bounds the output. ``after`` names the stages that must end before this one starts.
    """

    id: str
    role: str
    models: tuple[str, ...]
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    after: tuple[str, ...] = ()
    phase: str = ""
    sampling: Sampling = Sampling()
    context_policy: ContextPolicy = ContextPolicy.FAIL


@dataclass(frozen=True, slots=True)
class ToolStage:
    """Work outside Maestro: ends after ``duration_s``, or where that is None when a client completes it.

    ``expected_s`` is how long the completion is expected to take, for planning (None: the scenario's default).
    """

    id: str
    name: str
    after: tuple[str, ...] = ()
    duration_s: float | None = None
    expected_s: float | None = None


Stage = LlmStage | ToolStage


@dataclass(frozen=True)
class WorkflowSpec:
    """What a client submits. At most one of ``deadline`` (UTC) and ``deadline_after_s`` (from acceptance) is set.

    ``priority``: -100 to 100, higher is more urgent. ``slo_class`` empty: the scenario's default.
    """

    app: str
    stages: tuple[Stage, ...]
    tenant: str = "default"
    slo_class: str = ""
    deadline: datetime | None = None
    deadline_after_s: float | None = None
    priority: int = 0
    idempotency_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """Stage ids as nodes (the stage under ``stage``), an edge from each predecessor to its successor."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        for stage in self.stages:
            graph.add_node(stage.id, stage=stage)
        for stage in self.stages:
            graph.add_edges_from((before, stage.id) for before in stage.after)
        return graph

    @cached_property
    def by_id(self) -> Mapping[str, Stage]:
        """The stages by id."""
        return {stage.id: stage for stage in self.stages}

    @cached_property
    def successors(self) -> Mapping[str, tuple[str, ...]]:
        """For each stage the ids of those that wait for it, in submission order."""
        after: dict[str, list[str]] = {stage.id: [] for stage in self.stages}
        for stage in self.stages:
            for before in stage.after:
                after[before].append(stage.id)
        return {stage_id: tuple(ids) for stage_id, ids in after.items()}

    @cached_property
    def topological_order(self) -> tuple[str, ...]:
        """The stage ids, predecessors first; stages without predecessors lead in the order they were submitted."""
        missing = {stage.id: len(stage.after) for stage in self.stages}
        order = [stage.id for stage in self.stages if not stage.after]
        for stage_id in order:  # the list grows while it is walked: a queue
            for successor in self.successors[stage_id]:
                missing[successor] -= 1
                if not missing[successor]:
                    order.append(successor)
        return tuple(order)
