"""Tests that what was learnt survives being stored, and that a damaged state is refused."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro.costs import LengthFeatures, LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro_solver.predictor import LengthPredictor, PredictorConfig

ROLES = ("planner", "coder", "reviewer")


def features(role: str) -> LengthFeatures:
    return LengthFeatures("app", role, "", "m", 10, 1 << 20)


def taught(seen: list[tuple[str, int, LengthOutcome]]) -> LengthPredictor:
    predictor = LengthPredictor()
    for role, tokens, outcome in seen:
        predictor.observe(LengthObservation(features(role), tokens, outcome))
    return predictor


def stored() -> dict[str, Any]:
    return json.loads(
        json.dumps(taught([("coder", 5, LengthOutcome.COMPLETE), ("coder", 9, LengthOutcome.CENSORED)]).state())
    )


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(ROLES), st.integers(0, 1 << 20), st.sampled_from(LengthOutcome)), max_size=30)
)
def test_a_restored_predictor_forecasts_and_learns_the_same(seen: list[tuple[str, int, LengthOutcome]]) -> None:
    original = taught(seen)
    restored = LengthPredictor.from_state(json.loads(json.dumps(original.state())))
    for _ in range(2):
        assert [restored.forecast(features(role)) for role in ROLES] == [
            original.forecast(features(role)) for role in ROLES
        ]
        assert restored.state() == original.state()
        for predictor in (original, restored):
            predictor.observe(LengthObservation(features("coder"), 77, LengthOutcome.COMPLETE))


def test_a_smaller_bound_keeps_the_keys_observed_last() -> None:
    predictor = taught([(f"role{index}", 900, LengthOutcome.COMPLETE) for index in range(50)])
    restored = LengthPredictor.from_state(predictor.state(), PredictorConfig(max_keys=10))
    assert restored.key_count == 10
    assert restored.forecast(features("role49")).p50_tokens == pytest.approx(900, rel=0.05)


@pytest.mark.parametrize("state", [None, [], "state", 7, {}, {"version": 1}])
def test_what_is_no_state_is_refused(state: object) -> None:
    with pytest.raises(InvalidInputError, match="without a stored state"):
        LengthPredictor.from_state(state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("version",), "1"),
        (("buckets",), 3),
        (("entry_count",), 17),
        (("entries",), {}),
        (("entries", 0), []),
        (("entries", 0, "key"), ["a", 1]),
        (("entries", 0, "key"), ["a"] * 6),
        (("entries", 0, "key"), "abc"),
        (("entries", 0, "key"), []),  # stands there twice: the last entry has it too
        (("entries", 0, "complete"), None),
        (("entries", 0, "complete"), [[1]]),
        (("entries", 0, "complete"), [[-1, 1.0]]),
        (("entries", 0, "complete"), [[100_000, 1.0]]),
        (("entries", 0, "complete"), [[1, -1.0]]),
        (("entries", 0, "censored"), [[1, float("nan")]]),
        (("entries", 0, "censored"), [[1, float("inf")]]),
        (("entries", 0, "censored"), [["1", 1.0]]),
    ],
)
def test_a_damaged_state_is_refused_and_the_place_named(path: tuple[str | int, ...], value: object) -> None:
    damaged: Any = copy.deepcopy(stored())
    place = damaged
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InvalidInputError, match=r"^state\."):
        LengthPredictor.from_state(damaged)


def test_a_state_cut_short_is_refused() -> None:
    state = stored()
    state["entries"].pop()
    with pytest.raises(InvalidInputError, match="truncated"):
        LengthPredictor.from_state(state)
