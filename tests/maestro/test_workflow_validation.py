"""What makes a workflow valid: each rule names field and remedy."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_builders import llm, workflow

from maestro.errors import InvalidInputError
from maestro.validation import WorkflowLimits, validate
from maestro.workflow import ChatMessage, Sampling, ToolStage

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def check(spec, limits=WorkflowLimits(), models=("m", "large"), now=NOW):  # noqa: B008 - frozen
    validate(spec, limits=limits, models=models, slo_classes=("standard", "batch"), now=now)


def test_that_a_diamond_with_a_tool_and_a_distant_quote_is_valid():
    check(
        workflow(
            llm("plan"),
            llm("left", "plan", content="{{plan.output}}"),
            ToolStage("right", "search", ("plan",), duration_s=1.0),
            llm("join", "left", "right", content="{{ plan.output }} {{left.output}} {{right.output}} \\{{x.output}}"),
            deadline=NOW + timedelta(seconds=1),
        )
    )


BAD = {
    "no stage": (workflow(), r"stages: the workflow is empty; give it at least one stage"),
    "no app": (workflow(llm("a"), app=" "), r"app: is required"),
    "no tenant": (workflow(llm("a"), tenant=""), r"tenant: is required"),
    "an unknown class": (workflow(llm("a"), slo_class="bach"), r"slo_class: unknown SLO class .*did you mean 'batch'"),
    "a priority out of range": (workflow(llm("a"), priority=101), r"priority: must be from -100 to 100 \(got 101\)"),
    "a long key": (workflow(llm("a"), idempotency_key="k" * 201), r"idempotency_key: is longer than 200"),
    "many labels": (workflow(llm("a"), labels={str(n): "" for n in range(33)}), r"labels: has over 32 entries"),
    "a long label": (workflow(llm("a"), labels={"k": "é" * 200}), r"labels\['k'\]: key and value take over 256 bytes"),
    "two deadlines": (workflow(llm("a"), deadline=NOW, deadline_after_s=5.0), r"deadline: is given twice"),
    "a deadline in the past": (
        workflow(llm("a"), deadline=NOW),
        r"deadline: has passed: it is 2030-01-01.*in the future",
    ),
    "a deadline without zone": (workflow(llm("a"), deadline=NOW.replace(tzinfo=None)), r"deadline: has no time zone"),
    "a deadline of no time": (workflow(llm("a"), deadline_after_s=0.0), r"deadline_after_s: must be over 0"),
    "a duplicate id": (
        workflow(llm("a"), llm("b"), llm("a")),
        r"stages\[2\].id: stage 'a' is already defined at stages\[0\]",
    ),
    "a bad id": (workflow(llm("1a")), r"stages\[0\].id: is not a stage id \(got '1a'\); a letter"),
    "a long id": (workflow(llm("a" * 65)), r"stages\[0\].id: is not a stage id"),
    "an unknown predecessor": (
        workflow(llm("b", "x")),
        r"stages\[0\].after\[0\]: stage 'b' depends on 'x', which is not in",
    ),
    "a predecessor twice": (workflow(llm("a"), llm("b", "a", "a")), r"stages\[1\].after: .* names a predecessor twice"),
    "a cycle": (
        workflow(llm("a", "c"), llm("b", "a"), llm("c", "b")),
        r"has a cycle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)",
    ),
    "a stage after itself": (workflow(llm("a", "a")), r"has a cycle: a -> a"),
    "an unknown quote": (
        workflow(llm("a", content="{{x.output}}")),
        r"quotes '{{x.output}}', and no stage has the id 'x'",
    ),
    "a quote of a stranger": (
        workflow(llm("a"), llm("b", content="{{a.output}}")),
        r"stages\[1\].messages: stage 'b' quotes 'a', which need not have ended.*add 'a' to after of 'b'",
    ),
    "a quote of a successor": (workflow(llm("a", content="{{b.output}}"), llm("b", "a")), r"stage 'a' quotes 'b'"),
    "a quote of itself": (workflow(llm("a", content="{{a.output}}")), r"stage 'a' quotes 'a'"),
    "no role": (workflow(llm("a", role="")), r"stages\[0\].role: stage 'a' has no role"),
    "no model": (workflow(llm("a", models=())), r"stages\[0\].models: .*name at least one of large, m"),
    "an unknown model": (
        workflow(llm("a", models=("m", "lagre"))),
        r"models\[1\]: unknown model .*did you mean 'large'",
    ),
    "no message": (workflow(llm("a", messages=())), r"stages\[0\].messages: stage 'a' has no messages"),
    "an unknown role of a message": (
        workflow(llm("a", messages=(ChatMessage("usr", "x"),))),
        r"messages\[0\].role: unknown message role .*did you mean 'user'",
    ),
    "no output": (workflow(llm("a", max_tokens=0)), r"stages\[0\].max_tokens: must be at least 1 \(got 0\)"),
    "a tool without name": (workflow(ToolStage("a", "")), r"stages\[0\].name: tool stage 'a' has no name"),
    "a negative duration": (workflow(ToolStage("a", "t", duration_s=-1.0)), r"stages\[0\].duration_s: must be 0"),
    "a duration that is no number": (workflow(ToolStage("a", "t", expected_s=float("nan"))), r"stages\[0\].expected_s"),
    "half a character": (workflow(llm("a", content="\ud800")), r"lone surrogate"),
}


@pytest.mark.parametrize("case", BAD)
def test_that_a_broken_rule_names_field_and_remedy(case):
    spec, message = BAD[case]
    with pytest.raises(InvalidInputError, match=message):
        check(spec)


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (Sampling(temperature=2.1), "temperature"),
        (Sampling(temperature=float("nan")), "temperature"),
        (Sampling(top_p=0.0), "top_p"),
        (Sampling(seed=2**63), "seed"),
        (Sampling(stop=("",)), "stop"),
        (Sampling(stop=("x",) * 9), "stop"),
        (Sampling(min_tokens=11), "min_tokens"),
    ],
)
def test_that_sampling_stays_in_range(sampling, field):
    with pytest.raises(InvalidInputError, match=rf"stages\[0\].sampling.{field}: "):
        check(workflow(llm("a", sampling=sampling)))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (WorkflowLimits(stages=2), "has 3 stages, over the limit of 2"),
        (WorkflowLimits(edges=1), "has 2 dependencies, over the limit of 1"),
        (WorkflowLimits(text_bytes=40), "has 48 bytes of text, over the limit of 40"),
    ],
)
def test_that_limits_are_named_with_what_was_counted(limits, message):
    spec = workflow(llm("a", content="é" * 5), llm("b", "a", content="é" * 5), llm("c", "b", content="é" * 5))
    with pytest.raises(InvalidInputError, match=f"{message}; split the workflow"):
        check(spec, limits)


def test_that_five_megabytes_of_prompt_are_refused_by_our_limit():
    with pytest.raises(InvalidInputError, match="over the limit of 4194304"):
        check(workflow(llm("a", content="x" * 5_000_000)))


def test_that_without_a_clock_a_deadline_is_not_compared():
    check(workflow(llm("a"), deadline=NOW - timedelta(days=1)), now=None)


def test_that_ten_thousand_stages_in_a_row_are_valid_and_a_cycle_among_them_is_found():
    stages = [llm("s0"), *(llm(f"s{n}", f"s{n - 1}", content="{{s0.output}}") for n in range(1, 10_000))]
    check(workflow(*stages))
    with pytest.raises(InvalidInputError, match=r"has a cycle: .* -> \.\.\. -> "):
        check(workflow(llm("s0", "s9999"), *stages[1:]))


def test_that_ten_thousand_distinct_distant_quotes_are_checked():
    stages = [llm("s0"), llm("s1", "s0")]
    stages += [llm(f"s{n}", f"s{n - 1}", content=f"{{{{s{n - 2}.output}}}}") for n in range(2, 10_000)]
    check(workflow(*stages))
    with pytest.raises(InvalidInputError, match="stage 'late' quotes 's9999'"):
        check(workflow(*stages, llm("late", "s9998", content="{{s9999.output}}")), WorkflowLimits(stages=20_000))


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.sets(st.integers(0, n - 1)), min_size=n, max_size=n)))
def test_that_exactly_the_graphs_with_a_topological_order_are_accepted(edges):
    stages = [llm(f"s{n}", *(f"s{before}" for before in befores)) for n, befores in enumerate(edges)]
    done: set[int] = set()
    for _ in edges:
        done |= {n for n, befores in enumerate(edges) if befores <= done}
    if len(done) == len(edges):
        check(workflow(*stages))
    else:
        with pytest.raises(InvalidInputError, match="has a cycle: "):
            check(workflow(*stages))
