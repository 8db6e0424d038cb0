"""Clients that submit stage by stage: nothing is known early, and everything is done all the same."""

from __future__ import annotations

import pytest
from simulated_world import experiment

from maestro.workflow import ContextPolicy, LlmStage, ToolStage, WorkflowSpec
from maestro_services.simulation.clients import StageByStage, WholeWorkflows
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.prompts import SizedStage
from maestro_services.simulation.workload.truth import Arrival


def sized(name: str, *after: str) -> SizedStage:
    policy = ContextPolicy.TRUNCATE_OLDEST
    return SizedStage(name, "writer", ("m",), (), 4096, after, context_policy=policy, own_tokens=10, prompt_tokens=50)


def arrival(*stages: LlmStage | ToolStage) -> Arrival:
    return Arrival("w1", 100.0, WorkflowSpec("app", stages, deadline_after_s=60.0), {}, 60.0)


DIAMOND = arrival(sized("a"), sized("b", "a"), sized("c", "a"), sized("d", "b", "c"))


def test_a_whole_workflow_is_one_submission_and_ends_with_it() -> None:
    clients = WholeWorkflows()
    (submission,) = clients.begin(DIAMOND)
    assert (submission.id, submission.spec) == ("w1", DIAMOND.spec)
    followed = clients.follow("w1", succeeded=True, now=120.0)
    assert (followed.workflow, followed.ended, followed.succeeded, followed.next) == ("w1", True, True, ())


def test_a_stage_is_submitted_when_all_before_it_have_ended() -> None:
    clients = StageByStage()
    assert [found.id for found in clients.begin(DIAMOND)] == ["w1.a"]
    assert [found.id for found in clients.follow("w1.a", succeeded=True, now=110.0).next] == ["w1.b", "w1.c"]
    assert not clients.follow("w1.b", succeeded=True, now=120.0).next
    last = clients.follow("w1.c", succeeded=True, now=130.0)
    assert ([found.id for found in last.next], last.ended) == (["w1.d"], False)
    assert clients.follow("w1.d", succeeded=True, now=140.0).ended


def test_a_stage_by_itself_has_its_whole_prompt_and_what_is_left_of_the_deadline() -> None:
    clients = StageByStage()
    clients.begin(DIAMOND)
    first = clients.follow("w1.a", succeeded=True, now=110.0).next[0].spec
    (stage,) = first.stages
    assert isinstance(stage, SizedStage)
    assert (stage.after, stage.own_tokens, first.deadline_after_s) == ((), 50, pytest.approx(50.0))
    late = StageByStage()
    late.begin(DIAMOND)
    (late_stage, _) = late.follow("w1.a", succeeded=True, now=999.0).next
    assert late_stage.spec.deadline_after_s is not None
    assert 0.0 < late_stage.spec.deadline_after_s < 1.0


def test_after_a_failure_nothing_more_is_submitted_and_the_workflow_has_failed() -> None:
    clients = StageByStage()
    clients.begin(DIAMOND)
    clients.follow("w1.a", succeeded=True, now=110.0)
    failed = clients.follow("w1.b", succeeded=False, now=120.0)
    assert (failed.ended, failed.next) == (False, ())
    ended = clients.follow("w1.c", succeeded=True, now=130.0)
    assert (ended.ended, ended.succeeded, ended.next) == (True, False, ())


def test_a_tool_is_revealed_like_a_call() -> None:
    clients = StageByStage()
    (found,) = clients.begin(arrival(ToolStage("pause", "pause", (), duration_s=3.0), sized("a", "pause")))
    assert found.id == "w1.pause"
    assert clients.workflow_of(found.id) == "w1"


def test_the_same_workflows_and_stages_are_served_either_way() -> None:
    light = experiment(rate_per_s=0.05, duration_s=600.0)
    whole, revealed = (run(light, policy_named(name), 1) for name in ("planner", "planner-stage-by-stage"))
    assert revealed["workflows"] == whole["workflows"]
    assert revealed["failures"] == whole["failures"] == 0
    assert revealed["attainment"]["overall"] > 0.5
