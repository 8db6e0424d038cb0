"""Tests forecasts of whole workflows: memory and time of a stage, time that is left, and what is still to come."""

import json
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from recorded_calls import loop

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec, SpeedCoefficients
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.call import finished, upcoming
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.remaining_time import SecondsAt, sampled_remaining_s
from maestro_solver.predictor.stage_costs import reserved_kv_bytes, stage_seconds
from maestro_solver.predictor.stage_predictor import StagePredictor
from maestro_solver.predictor.templates import WorkflowTemplates

SPEED = SpeedCoefficients(1000.0, decode_tokens_per_s=50.0, batch_slope=0.1, colocation_slope=0.5, start_s=0.0)
MODEL = ModelSpec(
    name="m",
    weights_bytes=1,
    kv_bytes_per_token=100,
    kv_pool_bytes=100_000,
    overhead_bytes=0,
    context_tokens=600,
    max_batch=4,
    speeds={"gpu": SPEED},
)
PLACES = (("reviewer", "loop"), ("reviser", "loop"))


def between(least: float, most: float) -> SecondsAt:
    return lambda shares: least + shares * (most - least)


def test_a_reservation_holds_prompt_and_quantile_within_the_context(artefact: Artefact) -> None:
    """Tests bytes against the quantile, and that the context is the end of it."""
    call = upcoming(loop(0, seed=51)[0])
    forecast = StagePredictor(artefact).forecast(call, WorkflowHistory())
    p90 = int(np.ceil(forecast.quantiles(np.array([0.9]))[0]))
    assert reserved_kv_bytes(MODEL, 100, forecast, 0.9) == 100 * (100 + p90)
    assert reserved_kv_bytes(MODEL, 599, forecast, 0.9) == 100 * 600


def test_stage_seconds_are_prefill_and_decode_and_less_once_it_runs(artefact: Artefact) -> None:
    """Tests the performance model's terms."""
    forecast = StagePredictor(artefact).forecast(upcoming(loop(0, seed=52)[1]), WorkflowHistory())
    shares = np.array([0.5, 0.9])
    lengths = forecast.quantiles(shares)
    np.testing.assert_allclose(stage_seconds(SPEED, 2000, forecast, shares), 2.0 + lengths / 50.0)
    crowded = stage_seconds(SPEED, 2000, forecast, shares, batch=3, active_models=2)
    np.testing.assert_allclose(crowded, 2.0 + lengths * 1.2 * 1.5 / 50.0)
    halfway = int(lengths[0])
    left = stage_seconds(SPEED, 2000, forecast, shares, produced_tokens=halfway)
    assert (left >= 0).all()
    assert left[0] < lengths[0] / 50.0


def test_of_two_branches_the_longer_one_counts() -> None:
    """Tests that the expected time of a join is longer than any branch's mean, and a chain's is the sum."""
    fan = nx.DiGraph([("a", "join"), ("b", "join")])
    times = sampled_remaining_s(fan, {"a": between(0, 10), "b": between(0, 10), "join": between(1, 1)}, 20_000, seed=1)
    assert times.mean() == pytest.approx(1 + 20 / 3, rel=0.02)  # the larger of two uniform times, not 5
    chain = nx.DiGraph([("a", "b")])
    times = sampled_remaining_s(chain, {"a": between(0, 10), "b": between(0, 10)}, 20_000, seed=1)
    assert times.mean() == pytest.approx(10, rel=0.02)


def test_stages_that_have_ended_take_no_more_time() -> None:
    """Tests a workflow halfway through, one that is done, and that a seed decides the samples."""
    chain = nx.DiGraph([("a", "b")])
    np.testing.assert_allclose(sampled_remaining_s(chain, {"b": between(3, 3)}, 4, seed=0), 3.0)
    np.testing.assert_allclose(sampled_remaining_s(chain, {}, 4, seed=0), 0.0)
    once, again = (sampled_remaining_s(chain, {"a": between(0, 9)}, 5, seed=2) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_graph_that_cannot_be_sampled_is_refused() -> None:
    """Tests a cycle, no samples, and a stage that is not there."""
    with pytest.raises(InvalidInputError, match="cycle"):
        sampled_remaining_s(nx.DiGraph([("a", "b"), ("b", "a")]), {"a": between(0, 1)}, 1, seed=0)
    with pytest.raises(InvalidInputError, match="samples"):
        sampled_remaining_s(nx.DiGraph(), {}, 0, seed=0)
    with pytest.raises(InvalidInputError, match="does not hold"):
        sampled_remaining_s(nx.DiGraph(), {"x": between(0, 1)}, 1, seed=0)


def templates(rounds: list[int]) -> WorkflowTemplates:
    learnt = WorkflowTemplates()
    for workflow, count in enumerate(rounds):
        learnt.observe("writers", [finished(call) for call in loop(workflow, seed=53, rounds=count)])
    return learnt


def test_what_follows_is_what_followed_the_same_visit() -> None:
    """Tests a loop of three rounds or five, seen from its second round and from its fourth."""
    learnt = templates([3] * 10 + [5] * 10)
    second = learnt.following("writers", PLACES * 2)
    fourth = learnt.following("writers", PLACES * 4)
    assert second is not None
    assert fourth is not None
    assert sorted(set(second.calls)) == [2, 6]
    assert set(fourth.calls) == {2}
    assert second.expected_places() == {PLACES[0]: 2.0, PLACES[1]: 2.0}
    assert (second.output_tokens > 0).all()


def test_beyond_what_was_seen_the_nearest_counts() -> None:
    """Tests a longer loop than any, a place never seen, a workflow at its start, and an app never seen."""
    learnt = templates([3] * 10)
    beyond = learnt.following("writers", PLACES * 9)
    assert beyond is not None
    assert set(beyond.calls) == {0}
    strange = learnt.following("writers", [("editor", "")])
    assert strange is not None
    assert set(strange.calls) == {5}
    start = learnt.following("writers", [])
    assert start is not None
    assert set(start.calls) == {6}
    assert learnt.following("painters", PLACES) is None


def test_templates_survive_a_restart_and_refuse_a_damaged_state() -> None:
    """Tests the round trip through JSON."""
    learnt = templates([2, 3])
    again = WorkflowTemplates.from_state(json.loads(json.dumps(learnt.state())))
    assert again.following("writers", PLACES) == learnt.following("writers", PLACES)
    for damaged in (None, {}, {"version": 1, "apps": [["writers", [[["r", "p", -1]]]]]}, {"version": 1, "apps": [[]]}):
        with pytest.raises(InvalidInputError):
            WorkflowTemplates.from_state(damaged)


def test_an_empty_workflow_teaches_nothing_and_much_is_forgotten_within_bounds() -> None:
    """Tests that what is kept is bounded."""
    learnt = WorkflowTemplates()
    learnt.observe("writers", [])
    assert learnt.following("writers", []) is None
    for workflow in range(300):
        learnt.observe("writers", [finished(replace(loop(workflow, seed=54)[0]))])
    start = learnt.following("writers", [])
    assert start is not None
    assert len(start.outlines) == 200
