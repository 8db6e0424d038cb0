"""Prompts against contexts, and reservations against pools: a stage runs if any of its models can, or it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import GIB, call, fleet, model, node

from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, ModelSpec
from maestro.prompt import CUT_MARK
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.special_tokens import SpecialTokens
from maestro.status import StageState, TokenUsage, WorkflowState
from maestro.tokens import estimate_tokens
from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, WorkflowSpec
from maestro_services.scheduler.core import PromptRules, prompts
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do

TRUNCATE = ContextPolicy.TRUNCATE_OLDEST


def small_fleet(*models: ModelSpec, accelerator: AcceleratorSpec | None = None) -> Fleet:
    """One node; the service world's models where none are given."""
    machine = node("left-node")
    if accelerator is not None:
        machine = replace(machine, accelerators=(accelerator,))
    known = {found.name: found for found in models} or fleet().models
    return replace(fleet(), clusters=(ClusterSpec("left", (machine,)),), models=known)


def driver(*models: ModelSpec, count=estimate_tokens, accelerator: AcceleratorSpec | None = None) -> Driver:
    """A core whose only node is up, with every model's tokens counted by ``count``."""
    the_fleet = small_fleet(*models, accelerator=accelerator)
    prompts = {name: PromptRules(SpecialTokens(), count) for name in the_fleet.models}
    found = Driver(core_config(fleet=the_fleet, prompts=prompts))
    found.bring_up("left-node")
    return found


def asking(text: str, **changes: object) -> LlmStage:
    """A stage whose own prompt is ``text``."""
    return replace(call("only"), messages=(ChatMessage("user", text),), **changes)  # type: ignore[arg-type]


def run(found: Driver, *stages: LlmStage) -> list[do.ExecuteAttempt]:
    """Submits a workflow of the stages and carries it through to its end; the attempts that were sent."""
    found.submit(WorkflowSpec("essays", stages))
    return finish(found)


def run_behind(found: Driver, output: str, tokens: int, second: LlmStage) -> list[do.ExecuteAttempt]:
    """Has a first stage say ``output``, and carries the second through; the attempts of the second."""
    found.submit(WorkflowSpec("essays", (call("first"), second)))
    found.plan()
    found.finish_loads()
    (attempt,) = found.attempts()
    found.post(on.AttemptFinished(attempt.key, attempt.attempt_id, output, "stop", TokenUsage(20, tokens), 0.1))
    return finish(found)


def finish(found: Driver) -> list[do.ExecuteAttempt]:
    """Plans, loads and finishes until nothing is left to do; the attempts that were sent."""
    sent: list[do.ExecuteAttempt] = []
    for _ in range(60):
        found.plan()
        found.finish_loads()
        for attempt in found.attempts():
            sent.append(attempt)
            found.finish(attempt)
        if not found.core.active_workflows():
            return sent
        found.post(on.NodeSeen("left-node"))
        found.pass_time(0.2)
    raise AssertionError(f"a stage waits for ever: {found.core.waiting('w1')}")


def ended(found: Driver) -> tuple[WorkflowState, str]:
    """How the last workflow that ended did, and why."""
    status = [t.status for t in found.transitions if isinstance(t, do.WorkflowEnded)][-1]
    return status.state, status.detail


def test_a_prompt_whose_estimate_exceeds_the_context_runs_if_its_true_count_fits():
    """Tests that an estimate alone never keeps a stage from running."""
    found = driver(count=lambda text: len(text) // 10)
    (attempt,) = run(found, asking("a" * 15_000))
    assert attempt.messages[0].content == "a" * 15_000
    assert found.stage("only").state is StageState.SUCCEEDED


def test_a_prompt_longer_than_the_context_fails_its_workflow_as_it_is_submitted():
    """Tests that nobody waits for what cannot be, and that the reason names tokens and context."""
    found = driver()
    assert run(found, asking("word " * 8000)) == []
    assert found.stage("only").reason is Reason.CONTEXT_LIMIT
    assert "tokens and the context holds 4096" in found.stage("only").detail
    assert ended(found)[0] is WorkflowState.FAILED
    kinds = [type(t) for t in found.transitions]
    assert kinds == [do.WorkflowAccepted, do.StageChanged, do.WorkflowEnded]


def test_siblings_that_are_all_too_long_fail_one_workflow_once():
    """Tests that a workflow which fails at its first ready stage leaves the others in peace."""
    found = driver(count=len)
    long = (ChatMessage("user", "a" * 5000),)
    run(found, replace(call("a"), messages=long), replace(call("b"), messages=long))
    assert found.stage("a").reason is Reason.CONTEXT_LIMIT
    assert found.stage("b").state is StageState.CANCELLED


def test_a_quote_that_outgrew_the_context_fails_the_stage_when_it_is_ready():
    found = driver()
    assert run_behind(found, "word " * 8000, 8000, call("second", "first")) == []
    assert found.stage("second").reason is Reason.CONTEXT_LIMIT


def test_a_quote_that_outgrew_the_context_is_cut_where_that_is_allowed():
    found = driver()
    second = replace(call("second", "first"), context_policy=TRUNCATE)
    (attempt,) = run_behind(found, "word " * 8000 + "the end", 8000, second)
    assert CUT_MARK in attempt.messages[0].content
    assert attempt.messages[0].content.endswith("the end")
    assert attempt.max_tokens == 40


def test_a_stage_that_waits_for_a_long_quote_has_options_all_the_while():
    """Tests that what is planned ahead is capped at what the context policy can let through."""
    found = driver()
    for policy in ContextPolicy:
        last = call("last", "first")
        long = (*last.messages, ChatMessage("user", "word " * 8000))
        behind = replace(last, messages=long, context_policy=policy)
        found.submit(WorkflowSpec("essays", (call("first"), behind)), policy)
        waiting = next(w for w in found.core.snapshot(found.now).waiting if w.key == StageKey(policy, "last"))
        assert [option.kv_bytes for option in waiting.options] == [4096 << 14]


def test_a_model_whose_context_is_too_small_leaves_the_stage_to_the_next():
    """Tests that a ready stage drops the models that its prompt is too long for."""
    found = driver(replace(model("writer"), context_tokens=1000), model("critic"), count=len)
    run(found, asking("warm"))
    (attempt,) = run(found, asking("a" * 1500, models=("writer", "critic")))
    assert attempt.model == "critic"
    assert found.stage("only").state is StageState.SUCCEEDED


def test_a_stage_that_none_of_its_models_can_take_fails_and_names_them_all():
    found = driver(
        replace(model("writer"), context_tokens=1000), replace(model("critic"), context_tokens=1200), count=len
    )
    assert run(found, asking("a" * 1500, models=("writer", "critic"))) == []
    assert found.stage("only").reason is Reason.CONTEXT_LIMIT
    for name, context in (("writer", 1000), ("critic", 1200)):
        assert name in found.stage("only").detail
        assert f"the context holds {context}" in found.stage("only").detail


@pytest.mark.parametrize("elastic", [False, True])
def test_a_stage_that_no_accelerator_of_the_scenario_could_hold_fails_with_the_bytes(elastic):
    """Tests that a reservation beyond every pool is refused and not waited for."""
    writer = replace(model("writer"), kv_pool_bytes=1 << 20)
    accelerator = AcceleratorSpec("left-node-gpu", "sim", 3 * GIB + (1 << 20), slots=4, kv_elastic=elastic)
    found = driver(writer, accelerator=accelerator)
    assert run(found, asking("short", max_tokens=400)) == []
    assert found.stage("only").reason is Reason.NO_ACCELERATOR_FITS
    assert f"holds {1 << 20}" in found.stage("only").detail
    assert "bytes of KV memory" in found.stage("only").detail


def test_a_model_that_fits_no_accelerator_of_the_scenario_fails_the_stage():
    found = driver(replace(model("writer"), weights_bytes=5 * GIB))
    assert run(found, asking("short")) == []
    assert found.stage("only").reason is Reason.NO_ACCELERATOR_FITS
    assert '"writer"' in found.stage("only").detail


def test_a_stage_whose_accelerator_is_merely_down_goes_on_waiting():
    """Tests that only what is certain from the scenario fails a stage."""
    the_fleet = small_fleet()
    found = Driver(core_config(fleet=the_fleet))
    found.submit(WorkflowSpec("essays", (call("only"),)))
    found.pass_time(60.0)
    assert found.stage("only").state is StageState.WAITING
    found.bring_up("left-node")
    finish(found)
    assert found.stage("only").state is StageState.SUCCEEDED


def test_a_tail_of_models_without_the_reference_kind_counts_the_kinds_there_are():
    """Tests that typical times come from an accelerator that exists, however the speeds are ordered."""
    quick, slow = (replace(next(iter(model("m").speeds.values())), decode_tokens_per_s=rate) for rate in (1e6, 400.0))
    deadlines = []
    for speeds in ({"elsewhere": quick, "sim": slow}, {"sim": slow, "elsewhere": quick}):
        the_fleet = small_fleet(replace(model("writer"), speeds=speeds))
        found = Driver(core_config(fleet=the_fleet, reference_kind="absent"))
        found.submit(WorkflowSpec("essays", (call("only"),)))
        (accepted,) = (t for t in found.transitions if isinstance(t, do.WorkflowAccepted))
        deadlines.append(accepted.status.deadline_at_s - found.now)
    assert deadlines[0] == deadlines[1] > 1.0


def test_a_workflow_of_a_model_without_speeds_ends_with_a_reason():
    found = driver(replace(model("writer"), speeds={}))
    assert run(found, asking("short")) == []
    assert found.stage("only").reason is Reason.NO_ACCELERATOR_FITS


def test_a_remembered_count_is_the_counters_own_and_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MOST_REMEMBERED", 2)
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text)

    remembered = prompts.RememberedCounts(count)
    first, second, third = (letter * 1000 for letter in "abc")
    for text in (first, second, first, third, third, first):
        assert remembered(text) == len(text)
    assert counted == [first, second, third, first], "the oldest goes first"
