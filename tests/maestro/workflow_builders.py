"""Workflows for tests, and a hypothesis strategy of all that the wire can carry."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, Sampling, Stage, ToolStage, WorkflowSpec


def llm(stage_id: str, *after: str, content: str = "Hello.", **changes) -> LlmStage:
    """A valid LLM stage."""
    given = {
        "role": "writer",
        "models": ("m",),
        "messages": (ChatMessage("user", content),),
        "max_tokens": 10,
        "after": after,
    }
    return LlmStage(id=stage_id, **{**given, **changes})


def workflow(*stages: Stage, **changes) -> WorkflowSpec:
    """A valid workflow of ``stages``."""
    return WorkflowSpec(**{"app": "notes", "stages": stages, **changes})


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
durations_s = st.integers(0, 10**12).map(lambda milliseconds: milliseconds / 1000)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.lists(texts, max_size=3).map(tuple),
    min_tokens=st.none() | st.integers(0, 2**32 - 1),
    ignore_eos=st.none() | st.booleans(),
)
llm_stages = st.builds(
    LlmStage,
    id=names,
    role=texts,
    models=st.lists(texts, max_size=3).map(tuple),
    messages=st.lists(st.builds(ChatMessage, texts, texts), max_size=3).map(tuple),
    max_tokens=st.integers(0, 2**32 - 1),
    after=st.lists(texts, max_size=3).map(tuple),
    phase=texts,
    sampling=samplings,
    context_policy=st.sampled_from(ContextPolicy),
)
tool_stages = st.builds(
    ToolStage,
    id=names,
    name=texts,
    after=st.lists(texts, max_size=3).map(tuple),
    duration_s=st.none() | durations_s,
    expected_s=st.none() | durations_s,
)
deadlines = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone added
due_times = st.one_of(
    st.just({}),
    deadlines.map(lambda at: {"deadline": at}),
    durations_s.map(lambda seconds: {"deadline_after_s": seconds}),
)


@st.composite
def workflows(draw: st.DrawFn) -> WorkflowSpec:
    """Any workflow, valid or not, whose values the wire can carry."""
    return WorkflowSpec(
        app=draw(texts),
        stages=tuple(draw(st.lists(llm_stages | tool_stages, max_size=4))),
        tenant=draw(names),
        slo_class=draw(texts),
        priority=draw(st.integers(-(2**31), 2**31 - 1)),
        idempotency_key=draw(texts),
        labels=draw(st.dictionaries(texts, texts, max_size=3)),
        **draw(due_times),
    )
