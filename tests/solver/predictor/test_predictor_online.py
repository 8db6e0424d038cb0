"""Tests that forecasts learn on from outcomes: calibration, change of the world, censoring, and running calls."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from recorded_calls import loop, loops

from maestro.errors import InvalidInputError
from maestro.trace import Ending, TraceCall
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.call import UpcomingCall, finished, upcoming
from maestro_solver.predictor.drift import DriftDetector
from maestro_solver.predictor.evaluation.replay import replayed
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.stage_predictor import StagePredictor


def longer(calls: list[TraceCall], factor: int, app: str) -> list[TraceCall]:
    """The same work by models that say ``factor`` times as much."""
    return [replace(call, app=app, completion_tokens=factor * call.completion_tokens) for call in calls]


def taught(artefact: Artefact, calls: list[TraceCall]) -> StagePredictor:
    predictor = StagePredictor(artefact)
    for _ in replayed(calls, predictor, online=True):
        pass
    return predictor


def restored(artefact: Artefact, state: object) -> StagePredictor:
    predictor = StagePredictor(artefact)
    predictor.restore(state)
    return predictor


@pytest.mark.parametrize("app", ["writers", "never seen"])
def test_after_twenty_workflows_that_behave_otherwise_the_p95_covers_again(artefact: Artefact, app: str) -> None:
    """Tests a source whose outputs are four times as long as any seen, and that the error falls."""
    calls = longer(loops(40, seed=21), 4, app)
    scored = list(replayed(calls, StagePredictor(artefact), online=True))
    first, later = scored[:40], scored[160:]
    errors = [np.mean([abs(one.p50_tokens - one.call.completion_tokens) for one in part]) for part in (first, later)]
    if app == "writers":  # of an app that it never saw nothing sharp is claimed in the first place
        assert np.mean([one.call.completion_tokens <= one.at(0.95) for one in first]) < 0.9
    assert np.mean([one.call.completion_tokens <= one.at(0.95) for one in later]) > 0.9
    assert errors[1] < 0.7 * errors[0]


def test_a_change_is_noticed_and_chance_is_not(artefact: Artefact) -> None:
    """Tests the count of drifts."""
    usual = taught(artefact, loops(40, seed=22))
    assert usual.drifts == 0
    for _ in replayed(longer(loops(20, seed=23), 4, "writers"), usual, online=True):
        pass
    assert usual.drifts > 0


def test_scores_that_are_uniform_raise_no_alarm() -> None:
    """Tests a hundred thousand outputs of forecasts that fit."""
    detector = DriftDetector()
    assert not any(detector.observe(score) for score in np.random.default_rng(0).random(100_000))
    assert any(detector.observe(0.99) for _ in range(20))


def test_a_cut_output_does_not_make_forecasts_shorter(artefact: Artefact) -> None:
    """Tests that 'at least 20 tokens' forty times over teaches nothing about how long outputs are."""
    call = finished(loop(0, seed=24)[1])
    cut, ended = (replace(call, output_tokens=20, ending=ending) for ending in (Ending.CUT, Ending.STOP))
    found = {}
    for name, outcome in (("nothing", None), ("cut", cut), ("ended", ended)):
        predictor = StagePredictor(artefact)
        for _ in range(40 if outcome else 0):
            assert outcome is not None
            predictor.observe(predictor.forecast(call.call, WorkflowHistory()), outcome)
        found[name] = predictor.forecast(call.call, WorkflowHistory()).lengths().p50_tokens
    assert found["ended"] < 0.5 * found["nothing"]
    assert found["cut"] > 0.8 * found["nothing"]


def test_a_running_call_is_forecast_from_how_far_it_came(artefact: Artefact) -> None:
    """Tests that quantiles are those of outputs that come so far: never below, rising, and within max_tokens."""
    call = replace(upcoming(loop(0, seed=25)[1]), max_tokens=5000)
    forecast = StagePredictor(artefact).forecast(call, WorkflowHistory())
    before = forecast.lengths()
    last = before.p50_tokens
    for alive in (0, 1, round(before.p50_tokens), round(before.p95_tokens), 4000, 70_000):
        now = forecast.lengths(alive)
        assert now.p95_tokens >= now.p90_tokens >= now.p50_tokens >= min(alive, 5000)
        assert now.p50_tokens >= last
        assert now.p95_tokens <= 5000
        last = now.p50_tokens
    with pytest.raises(InvalidInputError):
        forecast.quantiles(np.array([0.5]), alive_at_tokens=-1)
    with pytest.raises(InvalidInputError):
        forecast.quantiles(np.array([float("nan")]))


def test_a_dearer_overflow_is_reserved_for_with_more(artefact: Artefact) -> None:
    """Tests the cheapest reservation from an overflow that costs nothing to one that costs a great deal."""
    forecast = StagePredictor(artefact).forecast(upcoming(loop(0, seed=25)[1]), WorkflowHistory())
    reserved = [forecast.cheapest_reservation(cost) for cost in (0, 100, 1e4, 1e9)]
    assert reserved == sorted(reserved)
    assert reserved[0] < reserved[-1]


@pytest.mark.parametrize("tokens", [-1, 1 << 30, 2.5, float("nan"), True])
def test_a_length_that_no_output_has_teaches_nothing(artefact: Artefact, tokens: Any) -> None:
    """Tests that a bad observation is refused whole."""
    predictor = StagePredictor(artefact)
    call = UpcomingCall("writers", "reviewer", "loop", "m", 100)
    forecast, before = predictor.forecast(call, WorkflowHistory()), predictor.state()
    with pytest.raises(InvalidInputError, match="output_tokens"):
        predictor.observe(forecast, replace(finished(loop(0, seed=26)[0]), output_tokens=tokens))
    assert predictor.state() == before


def test_what_was_learnt_online_survives_a_restart(artefact: Artefact) -> None:
    """Tests that state goes through JSON and forecasts and learning go on as if nothing had happened."""
    predictor = taught(artefact, longer(loops(10, seed=27), 3, "new"))
    again = restored(artefact, json.loads(json.dumps(predictor.state())))
    for calls in (loops(2, seed=28, app="new"), loops(2, seed=29, app="new")):
        one, other = (list(replayed(calls, it, online=True)) for it in (predictor, again))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.quantiles, b.quantiles, rtol=1e-9)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 99},
        {"artefact": "another"},
        {"statistics": None},
        {"scores": {"version": 1}},
        {"experts": [["app", 1.0]]},
        {"experts": None},
        {"watched": [[["app"], 1.0]]},
        {"watched": [[["app"], 1.0, float("nan")]]},
        {"drifts": -1},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(artefact: Artefact, damage: dict[str, object]) -> None:
    """Tests every part of a state."""
    predictor = taught(artefact, loops(2, seed=30))
    before = predictor.state()
    with pytest.raises(InvalidInputError) as caught:
        predictor.restore({**before, **damage})
    assert caught.value.remedy
    assert predictor.state() == before


def test_a_workflow_of_any_length_is_remembered_within_bounds(artefact: Artefact) -> None:
    """Tests ten thousand calls in one workflow."""
    history = WorkflowHistory()
    call = finished(loop(0, seed=31)[0])
    for step in range(10_000):
        history.add(replace(call, call=replace(call.call, step=step)))
    assert len(history.all.outputs) < 100
    assert history.all.count == 10_000
    assert StagePredictor(artefact).forecast(call.call, history).lengths().p50_tokens > 0
