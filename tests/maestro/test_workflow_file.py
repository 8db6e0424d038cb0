"""Workflows as people write them: files and networkx graphs."""

import json
from datetime import UTC, datetime

import networkx as nx
import pytest
from workflow_builders import llm, workflow

from maestro.document import parse_document
from maestro.errors import InvalidInputError
from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, Sampling, ToolStage
from maestro.workflow_file import load_workflow, workflow_from_document, workflow_from_graph

FULL = """\
app: notes
tenant: team
slo_class: batch
deadline: 2030-01-31T12:00:00Z
priority: -5
idempotency_key: once
labels: {k: v}
stages:
  - id: a
    role: writer
    phase: p
    models: [m, n]
    system: Be brief.
    messages:
      - {role: assistant, content: Yes?}
    prompt: Go.
    max_tokens: 7
    sampling: {temperature: 0.5, top_p: 0.9, seed: 3, stop: END, min_tokens: 1, ignore_eos: false}
    context_policy: truncate_oldest
  - id: t
    tool: search
    after: a
    duration: 2 s
    expected: 500 ms
"""


def read(text, name="w.yaml"):
    return workflow_from_document(parse_document(text, name))


def test_that_every_key_reaches_the_workflow():
    spec = read(FULL)
    assert (spec.app, spec.tenant, spec.slo_class, spec.priority) == ("notes", "team", "batch", -5)
    assert (spec.idempotency_key, spec.labels) == ("once", {"k": "v"})
    assert spec.deadline == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert spec.stages == (
        LlmStage(
            id="a",
            role="writer",
            models=("m", "n"),
            messages=(ChatMessage("system", "Be brief."), ChatMessage("assistant", "Yes?"), ChatMessage("user", "Go.")),
            max_tokens=7,
            phase="p",
            sampling=Sampling(0.5, 0.9, 3, ("END",), 1, False),
            context_policy=ContextPolicy.TRUNCATE_OLDEST,
        ),
        ToolStage("t", "search", ("a",), 2.0, 0.5),
    )


def test_that_json_says_the_same_as_yaml(tmp_path):
    data = {"app": "notes", "deadline_after": "2 min", "stages": [{"id": "t", "tool": "x"}]}
    (tmp_path / "w.json").write_text(json.dumps(data))
    (tmp_path / "w.yaml").write_text("app: notes\ndeadline_after: 2 min\nstages:\n  - {id: t, tool: x}\n")
    assert load_workflow(tmp_path / "w.json") == load_workflow(tmp_path / "w.yaml")
    assert load_workflow(tmp_path / "w.json").deadline_after_s == 120


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_tokens: 7", "max_token: 7", r"w.yaml:17: stages\[0\].max_token: unknown key; did you mean 'max_tokens'"),
        ("max_tokens: 7", "max_tokens: many", r"w.yaml:17: stages\[0\].max_tokens: should be a valid integer"),
        ("    role: writer\n", "", r"w.yaml:9: stages\[0\].role: is required"),
        ("duration: 2 s", "duration: soon", r"w.yaml:23: stages\[1\].duration: not an amount"),
        ("priority: -5", "priority: high", r"w.yaml:5: priority: should be a valid integer"),
        ("2030-01-31T12:00:00Z", "tomorrow", r"w.yaml:4: deadline: is not a time"),
        ("truncate_oldest", "cut", r"w.yaml:19: stages\[0\].context_policy: should be 'fail' or 'truncate_oldest'"),
        ("app: notes", "app: [", r"w.yaml:\d+: is not valid YAML"),
    ],
)
def test_that_a_mistake_is_pointed_at_with_line_and_key(old, new, message):
    with pytest.raises(InvalidInputError, match=message):
        read(FULL.replace(old, new))


@pytest.mark.parametrize("text", ["[]", "x", "app: a\nstages: []", "app: a\nstages: {}", "app: a\nstages: [x]"])
def test_that_something_else_than_a_workflow_is_refused(text):
    with pytest.raises(InvalidInputError, match=r"w.yaml:\d"):
        read(text)


def test_that_a_graph_carries_the_same_keys():
    graph = nx.DiGraph(app="notes", tenant="team")
    graph.add_node("a", role="writer", models="m", prompt="Go.", max_tokens=7)
    graph.add_node("t", tool="search", duration=2)
    graph.add_edge("a", "t")
    assert workflow_from_graph(graph) == workflow(
        llm("a", content="Go.", max_tokens=7), ToolStage("t", "search", ("a",), 2.0), tenant="team"
    )


def test_that_the_graph_of_a_workflow_leads_back_to_it():
    spec = workflow(llm("a"), llm("b"), llm("c", "b", "a"))
    graph = spec.graph
    graph.graph["app"] = "notes"
    assert workflow_from_graph(graph) == spec


def test_that_the_edges_of_a_graph_overrule_what_a_stage_says():
    graph = nx.DiGraph(app="notes")
    graph.add_node("a", stage=llm("a"))
    graph.add_node("b", stage=llm("b"))
    graph.add_edge("a", "b")
    assert workflow_from_graph(graph).by_id["b"].after == ("a",)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"role": "r", "models": "m"}, r"nodes\['a'\].max_tokens: is required"),
        ({"role": "r", "model": "m", "max_tokens": 1}, r"nodes\['a'\].model: unknown key; did you mean 'models'"),
        ({"stage": llm("b")}, r"nodes\['a'\]: has a stage of another id"),
    ],
)
def test_that_a_mistake_in_a_node_names_node_and_attribute(node, message):
    graph = nx.DiGraph(app="notes")
    graph.add_node("a", **node)
    with pytest.raises(InvalidInputError, match=message):
        workflow_from_graph(graph)


def test_that_a_graph_needs_an_app():
    with pytest.raises(InvalidInputError, match=r"graph\.app: is required"):
        workflow_from_graph(nx.DiGraph())
