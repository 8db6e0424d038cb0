"""A stage goes where the KV of what its prompt begins with still lies, and plans are told what that saves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import call, fleet

from maestro.fleet import NetworkSpec
from maestro.snapshot import PrefixReuse, ReplicaPhase
from maestro.status import TokenUsage
from maestro.workflow import ChatMessage, LlmStage, WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core.pace import WEIGHT_OF_ONE
from maestro_services.scheduler.core.prompts import Prompts, estimated_tokens
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES

PREFILL_TOKENS_PER_S = 20_000.0
QUESTION = (ChatMessage("system", "You know all rivers. " * 100), ChatMessage("user", "Which is the longest?"))
ANSWERED = ChatMessage("assistant", "{{ask.output}}")
USAGE = TokenUsage(prompt_tokens=660, completion_tokens=30)
ALONE_S = 660 / PREFILL_TOKENS_PER_S + 30 / 400.0
SAVED_S = (660 + 30) // 16 * 16 / PREFILL_TOKENS_PER_S


def follow_up(*messages: ChatMessage) -> LlmStage:
    return replace(call("again", "ask"), messages=messages)


def conversation(second: LlmStage | None = None) -> WorkflowSpec:
    """A question, and what follows it; by default the same conversation goes on."""
    going_on = follow_up(*QUESTION, ANSWERED, ChatMessage("user", "And the second longest?"))
    return WorkflowSpec("rivers", (replace(call("ask"), messages=QUESTION), second or going_on), deadline_after_s=500.0)


def serving() -> Driver:
    """A driver without plans; both nodes serve the writer, and nothing lies between them."""
    config = core_config(dispatch=DISPATCH_POLICIES["edf"], fleet=replace(fleet(), network=NetworkSpec()))
    driver = Driver(config)
    for node in ("left-node", "right-node"):
        driver.post(on.NodeRegistered(node, f"{node}-1", "127.0.0.1:1", frozenset({"writer", "critic"})))
        driver.report(node, replica(node))
    return driver


def replica(node: str, generation: int = 1) -> on.ReplicaReport:
    return on.ReplicaReport(f"{node}-gpu", "writer", generation, ReplicaPhase.READY, 1 << 28, 0.2, "")


def asked_on_the_right(spec: WorkflowSpec) -> Driver:
    """The left node is busy while the workflow's first stage comes, and idle when it ends."""
    driver = serving()
    driver.submit(WorkflowSpec("essays", (call("only"),), deadline_after_s=100.0), "first")
    [other] = driver.attempts()
    assert other.accelerator == "left-node-gpu"
    driver.submit(spec)
    [ask] = driver.attempts()
    assert ask.accelerator == "right-node-gpu"
    driver.finish(other)
    driver.post(on.AttemptFinished(ask.key, ask.attempt_id, "The Nile.", "stop", USAGE, 0.1))
    return driver


def place_of_next(driver: Driver) -> str:
    [attempt] = driver.attempts()
    return attempt.accelerator


def test_a_conversation_goes_on_where_it_was_begun() -> None:
    assert place_of_next(asked_on_the_right(conversation())) == "right-node-gpu"


def test_another_prompt_goes_to_the_first_of_equal_places() -> None:
    other = follow_up(ChatMessage("user", "Summarise: {{ask.output}}"))
    assert place_of_next(asked_on_the_right(conversation(other))) == "left-node-gpu"


def answered_in_a_crowd(took_s: float = ALONE_S) -> tuple[Driver, str]:
    """The question is answered, and whoever is due earlier keeps what follows it waiting; where it was answered."""
    driver = serving()
    driver.submit(conversation())
    [ask] = driver.attempts()
    for index in range(12):
        driver.submit(WorkflowSpec("essays", (call("only"),), deadline_after_s=50.0), f"other-{index}")
    driver.post(on.AttemptFinished(ask.key, ask.attempt_id, "The Nile.", "stop", USAGE, took_s))
    return driver, ask.accelerator


def reuse_of(driver: Driver) -> tuple[PrefixReuse, ...]:
    return next(s.reuse for s in driver.core.snapshot(driver.now).waiting if s.key.stage == "again")


def test_plans_are_told_what_a_replica_saves_in_whole_blocks() -> None:
    driver, place = answered_in_a_crowd()
    assert reuse_of(driver) == (PrefixReuse("writer", place, pytest.approx(SAVED_S)),)


def test_engines_that_take_longer_save_more() -> None:
    driver, place = answered_in_a_crowd(took_s=2.0 * ALONE_S)
    assert reuse_of(driver) == (PrefixReuse("writer", place, pytest.approx((1.0 + WEIGHT_OF_ONE) * SAVED_S)),)


def test_a_replica_that_has_not_served_ever_since_saves_nothing() -> None:
    driver, place = answered_in_a_crowd()
    node = place.removesuffix("-gpu")
    driver.report(node)
    assert reuse_of(driver) == ()
    driver.now += 60.0
    driver.post(on.NodeRegistered(node, f"{node}-1", "127.0.0.1:1", frozenset({"writer"})))
    driver.report(node, replica(node, generation=5))
    assert [r.phase for a in driver.core.snapshot(driver.now).accelerators for r in a.replicas if a.name == place] == [
        ReplicaPhase.READY
    ]
    assert reuse_of(driver) == ()


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ((*QUESTION, ANSWERED), 690),
        ((*QUESTION, ChatMessage("assistant", "Hm. {{ask.output}}")), 660),
        ((*QUESTION, ChatMessage("user", "{{ask.output}}")), 660),
        (QUESTION, 660),
        ((QUESTION[0], ChatMessage("user", "Which is the shortest?")), estimated_tokens(len(QUESTION[0].content), 1)),
        ((ChatMessage("user", QUESTION[0].content), QUESTION[1]), 0),
    ],
)
def test_prompts_share_the_messages_that_they_begin_with(messages: tuple[ChatMessage, ...], tokens: int) -> None:
    before = replace(call("ask"), messages=QUESTION)
    assert Prompts(core_config()).shared_tokens(follow_up(*messages), before, USAGE) == tokens
