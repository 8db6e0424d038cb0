"""Tests that the live core forecasts by the trained predictor: from the call, its workflow, and what it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from core_driver import Driver, core_config
from service_world import call, world

from maestro.snapshot import StageKey
from maestro.status import TokenUsage
from maestro.workflow import ChatMessage, LlmStage, ToolStage, WorkflowSpec
from maestro_services.cli.status_view import predictor_text
from maestro_services.scheduler.core import SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.lesson_log import LessonLog
from maestro_services.scheduler.core.trained_lengths import TrainedLengths
from maestro_services.scheduler.predictor_memory import recovered_lengths
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES
from maestro_solver.predictor import PredictorConfig
from maestro_solver.predictor.stage_predictor import StagePredictor

LONG, SHORT = 900, 30


def trained_driver(epoch: int = 1) -> Driver:
    """A core with the predictor that ships with Maestro, which starts stages and orders loads without plans."""
    driver = Driver(config=core_config(dispatch=DISPATCH_POLICIES["edf"]), epoch=epoch)
    driver.core = SchedulerCore(driver.config, TrainedLengths(StagePredictor.load()), epoch=epoch, lessons=LessonLog())
    driver.bring_up()
    return driver


def reviews() -> WorkflowSpec:
    """A program, its review, and a revision of it, as the predictor knows them from training."""
    stages = []
    for stage_id, role, phase, after in (
        ("code", "Programmer", "Coding", ()),
        ("review", "Code Reviewer", "CodeReviewComment", ("code",)),
        ("revise", "Programmer", "CodeReviewModification", ("review",)),
    ):
        quotes = " ".join(f"{{{{{before}.output}}}}" for before in after)
        message = ChatMessage("user", f"According to the codes and comments below: {quotes}")
        stages.append(LlmStage(stage_id, role, ("writer",), (message,), 2000, after, phase))
    return WorkflowSpec("chatdev", tuple(stages))


def started(driver: Driver) -> do.ExecuteAttempt:
    """The attempt that is sent next."""
    driver.pass_time(0.1)
    driver.finish_loads()
    (attempt,) = driver.attempts()
    return attempt


def run_to_the_end(driver: Driver) -> None:
    """Loads and finishes attempts until nothing is left to do."""
    for _ in range(200):
        driver.finish_loads()
        for attempt in driver.attempts():
            driver.finish(attempt)
        if not driver.core.active_workflows():
            return
        driver.pass_time(0.2)
    raise AssertionError("the workflows did not end")


def finish(driver: Driver, attempt: do.ExecuteAttempt, tokens: int, reason: str = "stop") -> None:
    """An attempt ends with so much output."""
    driver.now += 0.1
    usage = TokenUsage(200, tokens)
    driver.post(on.AttemptFinished(attempt.key, attempt.attempt_id, "x" * 4 * tokens, reason, usage, 0.1))


def forecast_p50(driver: Driver, stage_id: str) -> float:
    status = driver.core.waiting("w1")[stage_id]
    assert status.forecast is not None
    return status.forecast.p50_tokens


def test_a_ready_stage_is_forecast_from_what_its_workflow_has_produced() -> None:
    found = []
    for tokens in (SHORT, LONG):
        driver = trained_driver()
        driver.submit(reviews())
        finish(driver, started(driver), tokens)
        finish(driver, started(driver), 60)
        found.append(forecast_p50(driver, "revise") if "revise" in driver.core.waiting("w1") else 0.0)
    short, long = found
    assert long > 2 * short


def test_deadlines_come_from_the_forecasts_of_all_stages() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    (accepted,) = (t.status for t in driver.transitions if isinstance(t, do.WorkflowAccepted))
    decode_s = sum(forecast_p50(driver, stage) for stage in ("code", "review", "revise")) / 400.0
    factor = driver.config.slo_classes["standard"].deadline_factor
    assert accepted.deadline_at_s - accepted.accepted_at_s == pytest.approx(factor * decode_s, rel=0.1)


def test_memory_is_reserved_for_prompt_and_quantile() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    attempt = started(driver)
    status = driver.stage("code")
    assert status.forecast is not None
    per_token = driver.config.fleet.models["writer"].kv_bytes_per_token
    prompt = status.kv_reserved_tokens - round(status.forecast.p95_tokens)
    assert 0 < prompt < 80
    assert attempt.kv_bytes == status.kv_reserved_tokens * per_token


def test_no_forecast_passes_max_tokens_and_made_up_roles_are_forecast_too() -> None:
    driver = trained_driver()
    driver.submit(WorkflowSpec("never heard of", (call("a", max_tokens=40), call("b", "a", max_tokens=7))))
    for stage, limit in (("a", 40), ("b", 7)):
        forecast = driver.core.waiting("w1")[stage].forecast
        assert forecast is not None
        assert 0 < forecast.p50_tokens <= forecast.p90_tokens <= forecast.p95_tokens <= limit


def test_a_replay_gives_the_same_transitions_and_effects() -> None:
    """Tests invariant: replay equals run, with the trained predictor and tools between calls."""
    first = trained_driver()
    stages = (*reviews().stages, ToolStage("test", "run", ("revise",), duration_s=0.05), call("last", "test"))
    first.submit(WorkflowSpec("chatdev", stages), "w1")
    first.submit(reviews(), "w2")
    run_to_the_end(first)
    second = Driver()
    second.core = SchedulerCore(first.config, TrainedLengths(StagePredictor.load()), epoch=1, lessons=LessonLog())
    for event, at in first.events:
        second.now = at
        second.post(event)
    assert second.transitions == first.transitions
    assert second.core.predictor_state() == first.core.predictor_state()


def test_a_running_stage_that_outgrows_its_forecast_is_forecast_again_given_that_it_runs_on() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    attempt = started(driver)
    running = next(iter(driver.core._state.accelerators["left-node-gpu"].running.values()), None) or next(
        iter(driver.core._state.accelerators["right-node-gpu"].running.values())
    )
    expected_s = running.latest_end_s - running.sent_at_s
    node = attempt.node
    replica = driver.core._state.accelerators[attempt.accelerator].replicas["writer"]
    shown = on.ReplicaReport(attempt.accelerator, "writer", replica.generation, replica.phase, 0, 0.2, "")
    driver.now = running.latest_end_s + expected_s
    driver.report(node, shown, attempts=(on.AttemptReport(attempt.attempt_id, True, 1500),))
    driver.pass_time(0.0)
    left_s = running.latest_end_s - driver.now
    assert 0 < left_s <= (2000 - 1500) / 400.0


def test_cut_and_cancelled_outputs_teach_a_lower_bound_and_are_not_counted_as_covered() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    before = driver.core.predictor_state()
    finish(driver, started(driver), 2000, reason="length")
    assert driver.core.predictor_report().coverage.outputs == 0
    after = driver.core.predictor_state()
    assert after != before
    assert after["experts"] == before["experts"]


def test_a_length_that_no_output_can_have_teaches_nothing_and_stops_nobody() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    before = driver.core.predictor_state()
    attempt = started(driver)
    driver.post(on.AttemptFinished(attempt.key, attempt.attempt_id, "x", "stop", TokenUsage(200, 1 << 21), 0.1))
    assert driver.core.predictor_state() == before
    run_to_the_end(driver)


def test_the_report_counts_how_many_outputs_were_within_what_was_forecast() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    finish(driver, started(driver), 1)
    finish(driver, started(driver), 1999)
    coverage = driver.core.predictor_report().coverage
    assert (coverage.outputs, coverage.within_p50, coverage.within_p95) == (2, 1, 1)


def test_nothing_is_kept_of_a_workflow_that_has_ended() -> None:
    driver = trained_driver()
    driver.submit(reviews(), "w1")
    driver.submit(reviews(), "w2")
    driver.post(on.CancelRequested("w2"))
    run_to_the_end(driver)
    assert driver.core._lengths._told == {}  # type: ignore[attr-defined]


def test_a_broken_artefact_leaves_role_statistics_and_says_why(tmp_path: Path) -> None:
    lengths, _ = recovered_lengths({}.get, PredictorConfig(), trained=True, artefact=tmp_path)
    driver = Driver()
    driver.core = SchedulerCore(driver.config, lengths, epoch=1)
    report = driver.core.predictor_report()
    assert report.source == "role_statistics"
    assert str(tmp_path) in report.fallback_reason
    assert "fallback" in predictor_text(report)


async def test_clients_are_told_what_forecasts_and_how_well(tmp_path: Path) -> None:
    async with world(tmp_path) as running:
        workflow_id = await running.client.submit(WorkflowSpec("essays", (replace(call("a"), max_tokens=2000),)))
        await running.client.result(workflow_id)
        report = await running.client.predictor()
    assert report.source == "role_statistics"
    assert report.coverage.outputs <= 1
    assert "role statistics" in predictor_text(report)


def test_a_stage_of_an_earlier_scheduler_looks_back_on_what_had_ended() -> None:
    driver = trained_driver()
    driver.submit(reviews())
    finish(driver, started(driver), LONG)
    workflow = driver.core._state.workflows["w1"]
    again = TrainedLengths(StagePredictor.load())
    assert again._known(workflow).history.all.outputs == [LONG]
    assert again._known(workflow).history.last_of_role("Programmer") is not None
    assert StageKey("w1", "code") in [stage.key for stage in workflow.stages.values()]
