"""Tests that forecasts are ordered quantiles that shrink toward coarser keys and treat cut outputs as censored."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestro.costs import LengthFeatures, LengthForecast, LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro_solver.predictor import LengthPredictor, PredictorConfig

CODER = LengthFeatures("app", "coder", "write", "m1", 100, 1 << 20)
STEADY = PredictorConfig(half_life_outputs=None)
"""Nothing fades, so the order of observations does not matter."""

lengths = st.lists(st.integers(0, 1 << 20), max_size=30)
observations = st.builds(
    LengthObservation,
    st.builds(
        LengthFeatures,
        *(st.sampled_from("ab") for _ in range(4)),
        prompt_tokens=st.integers(0, 1000),
        max_tokens=st.integers(1, 5000),
    ),
    st.integers(0, 1 << 20),
    st.sampled_from(LengthOutcome),
)


def complete(tokens: int, features: LengthFeatures = CODER) -> LengthObservation:
    return LengthObservation(features, tokens, LengthOutcome.COMPLETE)


def censored(tokens: int, features: LengthFeatures = CODER) -> LengthObservation:
    return LengthObservation(features, tokens, LengthOutcome.CENSORED)


def learnt(*seen: LengthObservation, config: PredictorConfig = STEADY) -> LengthPredictor:
    predictor = LengthPredictor(config)
    for observation in seen:
        predictor.observe(observation)
    return predictor


def as_tuple(forecast: LengthForecast) -> tuple[float, float, float]:
    return (forecast.p50_tokens, forecast.p90_tokens, forecast.p95_tokens)


@settings(max_examples=60)
@given(st.lists(observations, max_size=40), observations)
def test_quantiles_are_ordered_and_within_max_tokens(seen: list[LengthObservation], asked: LengthObservation) -> None:
    p50, p90, p95 = as_tuple(learnt(*seen, config=PredictorConfig()).forecast(asked.features))
    assert 0 <= p50 <= p90 <= p95 <= asked.features.max_tokens


def test_an_unknown_world_looks_like_the_prior() -> None:
    prior = LengthForecast(64, 300, 1200)
    forecast = LengthPredictor(PredictorConfig(prior=prior)).forecast(CODER)
    assert as_tuple(forecast) == pytest.approx(as_tuple(prior), rel=0.05)


def test_a_prior_of_one_length_forecasts_that_length() -> None:
    forecast = LengthPredictor(PredictorConfig(prior=LengthForecast(100, 100, 100))).forecast(CODER)
    assert as_tuple(forecast) == pytest.approx((100, 100, 100), rel=0.05)


def test_much_data_forecasts_its_own_quantiles() -> None:
    sample = np.random.default_rng(7).lognormal(5.5, 0.8, 5000).astype(int)
    forecast = learnt(*(complete(int(tokens)) for tokens in sample)).forecast(CODER)
    assert as_tuple(forecast) == pytest.approx(tuple(np.quantile(sample, [0.5, 0.9, 0.95])), rel=0.04)


def test_a_role_that_always_says_the_same_is_forecast_exactly() -> None:
    assert as_tuple(learnt(*(complete(5) for _ in range(500))).forecast(CODER)) == (5.0, 5.0, 5.0)


def test_one_odd_output_does_not_overturn_what_the_role_does_elsewhere() -> None:
    elsewhere = replace(CODER, app="other")
    crowd = [complete(100 + index % 20, elsewhere) for index in range(200)]
    forecast = learnt(*crowd, complete(20_000)).forecast(CODER)
    assert 95 <= forecast.p50_tokens <= 125


def test_own_data_outweighs_the_role_elsewhere_once_there_is_enough() -> None:
    elsewhere = replace(CODER, app="other")
    crowd = [complete(100, elsewhere) for _ in range(1000)]
    medians = [
        learnt(*crowd, *(complete(2000) for _ in range(count))).forecast(CODER).p50_tokens for count in (0, 2, 50)
    ]
    assert medians[0] == pytest.approx(100, rel=0.05)
    assert medians[0] <= medians[1] <= medians[2]
    assert medians[2] == pytest.approx(2000, rel=0.05)


def test_without_shrinkage_a_single_output_decides() -> None:
    crowd = [complete(100, replace(CODER, app="other")) for _ in range(100)]
    alone = PredictorConfig(shrinkage_outputs=0.0)
    assert learnt(*crowd, complete(2000), config=alone).forecast(CODER).p50_tokens == pytest.approx(2000, rel=0.05)
    only_cut = learnt(*crowd, censored(50), config=alone).forecast(CODER)
    assert only_cut.p50_tokens == pytest.approx(100, rel=0.05)


def test_an_unseen_model_forecasts_like_the_same_phase_with_other_models() -> None:
    predictor = learnt(*(complete(700) for _ in range(300)))
    assert predictor.forecast(replace(CODER, model="m2")).p50_tokens == pytest.approx(700, rel=0.05)


@settings(max_examples=40)
@given(st.lists(observations, max_size=30), st.randoms(use_true_random=False))
def test_order_does_not_matter_where_nothing_fades(seen: list[LengthObservation], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert learnt(*seen).forecast(CODER) == learnt(*shuffled).forecast(CODER)


def test_old_outputs_fade() -> None:
    old, new = [complete(100)] * 300, [complete(900)] * 100
    faded = learnt(*old, *new, config=PredictorConfig(half_life_outputs=30))
    assert faded.forecast(CODER).p50_tokens == pytest.approx(900, rel=0.05)
    assert learnt(*old, *new).forecast(CODER).p50_tokens == pytest.approx(100, rel=0.05)


class TestCensoring:
    """Tests that a cut output counts as 'at least this long', never as a length."""

    @settings(max_examples=60)
    @given(lengths, st.integers(1, 1 << 20))
    def test_a_cut_output_never_lowers_a_forecast(self, seen: list[int], cut_at: int) -> None:
        before = learnt(*map(complete, seen)).forecast(CODER)
        after = learnt(*map(complete, seen), censored(cut_at)).forecast(CODER)
        assert all(new >= old * (1 - 1e-9) for old, new in zip(as_tuple(before), as_tuple(after), strict=True))

    @settings(max_examples=60)
    @given(lengths, st.integers(1, 1 << 20))
    def test_a_cut_output_forecasts_no_less_than_a_complete_one_of_that_length(
        self, seen: list[int], tokens: int
    ) -> None:
        ended = learnt(*map(complete, seen), complete(tokens)).forecast(CODER)
        cut = learnt(*map(complete, seen), censored(tokens)).forecast(CODER)
        assert all(new >= old * (1 - 1e-9) for old, new in zip(as_tuple(ended), as_tuple(cut), strict=True))

    def test_quantiles_below_the_cut_are_those_of_the_uncut_lengths(self) -> None:
        sample = np.random.default_rng(3).lognormal(5.0, 0.7, 4000).astype(int)
        limit = int(np.quantile(sample, 0.7))
        cut = [censored(limit) if tokens > limit else complete(int(tokens)) for tokens in sample]
        forecast = learnt(*cut).forecast(CODER)
        assert forecast.p50_tokens == pytest.approx(np.quantile(sample, 0.5), rel=0.04)
        assert forecast.p90_tokens > limit

    def test_lengths_cut_at_random_are_recovered(self) -> None:
        random = np.random.default_rng(5)
        sample = random.lognormal(5.0, 0.7, 8000).astype(int)
        limits = random.lognormal(5.8, 0.5, 8000).astype(int)
        seen = [
            complete(int(length)) if length <= limit else censored(int(limit))
            for length, limit in zip(sample, limits, strict=True)
        ]
        forecast = learnt(*seen).forecast(CODER)
        assert forecast.p50_tokens == pytest.approx(np.quantile(sample, 0.5), rel=0.05)
        assert forecast.p90_tokens == pytest.approx(np.quantile(sample, 0.9), rel=0.10)

    def test_a_role_seen_only_cut_is_forecast_beyond_the_cut(self) -> None:
        assert learnt(*(censored(3000) for _ in range(100))).forecast(CODER).p50_tokens > 3000

    def test_a_stage_cancelled_before_its_first_token_teaches_nothing(self) -> None:
        assert learnt(censored(0)).forecast(CODER) == LengthPredictor(STEADY).forecast(CODER)


@pytest.mark.parametrize("tokens", [-1, (1 << 20) + 1, 10**30, math.nan, math.inf, 12.5, True, "7", None])
@pytest.mark.parametrize("outcome", LengthOutcome)
def test_impossible_lengths_are_refused_and_teach_nothing(tokens: object, outcome: LengthOutcome) -> None:
    predictor = LengthPredictor()
    with pytest.raises(InvalidInputError, match="output_tokens"):
        predictor.observe(LengthObservation(CODER, tokens, outcome))  # type: ignore[arg-type]
    assert predictor.key_count == 0


@pytest.mark.parametrize("changed", [{"max_tokens": 0}, {"max_tokens": -5}, {"prompt_tokens": -1}])
def test_impossible_features_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        LengthPredictor().forecast(replace(CODER, **changed))


def test_keys_are_bounded_and_the_longest_unseen_is_forgotten() -> None:
    predictor = LengthPredictor(PredictorConfig(max_keys=20))
    for index in range(200):
        predictor.observe(complete(3000, replace(CODER, app=f"app{index}", role=f"role{index}")))
        assert predictor.key_count <= 20
    assert predictor.forecast(replace(CODER, app="app199", role="role199")).p50_tokens == pytest.approx(3000, rel=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_keys": 4},
        {"shrinkage_outputs": -1.0},
        {"shrinkage_outputs": math.nan},
        {"half_life_outputs": -1.0},
        {"prior": LengthForecast(0, 100, 200)},
        {"prior": LengthForecast(900, 100, 1000)},
        {"prior": LengthForecast(100, 900, math.inf)},
        {"prior": LengthForecast(math.nan, 900, 1000)},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        PredictorConfig(**bad)  # type: ignore[arg-type]


def test_forecast_many_is_forecast_of_each() -> None:
    predictor = learnt(complete(50), complete(500, replace(CODER, role="tester")))
    asked = [CODER, replace(CODER, role="tester"), replace(CODER, role="unknown")]
    assert predictor.forecast_many(asked) == tuple(map(predictor.forecast, asked))
