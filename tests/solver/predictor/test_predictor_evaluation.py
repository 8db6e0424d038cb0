"""Tests the figures themselves, on forecasts whose worth is known."""

from dataclasses import replace

import numpy as np
import pytest
from recorded_calls import loop, loops

from maestro.trace import Ending, TraceCall
from maestro_solver.predictor.distribution import CLASSES, EDGES, WIDTHS, LengthDistributions
from maestro_solver.predictor.evaluation.baselines import boosting_forecasts, median_forecasts, medians_of
from maestro_solver.predictor.evaluation.replay import SHARES, ReplayedCall
from maestro_solver.predictor.evaluation.reservation import reservations
from maestro_solver.predictor.evaluation.scores import pinball_tokens, scored


def with_forecast(call: TraceCall, tokens: float) -> ReplayedCall:
    return ReplayedCall(call, np.full(len(SHARES), tokens), tokens)


def test_errors_coverage_and_order_of_known_forecasts() -> None:
    """Tests forecasts that are all 10 tokens above the truth."""
    calls = loop(0, seed=61)
    scores = scored([with_forecast(call, call.completion_tokens + 10.0) for call in calls], {"zero": np.zeros(8)})
    assert scores is not None
    assert scores.mean_absolute_error_tokens == pytest.approx(10)
    assert scores.covered == {"p50": 1.0, "p90": 1.0, "p95": 1.0}
    assert scores.kendall_tau == pytest.approx(1.0)
    assert scores.pinball_tokens == pytest.approx(10 * float((1 - SHARES).mean()))
    assert scores.baseline_errors["zero"] == pytest.approx(np.mean([call.completion_tokens for call in calls]))


def test_outputs_that_were_cut_are_not_scored() -> None:
    """Tests that an unknown length counts for nothing, and that none left is no score."""
    calls = loop(0, seed=62)
    cut = [replace(call, ending=Ending.CUT) for call in calls]
    some = [with_forecast(call, 50.0) for call in [*calls[:3], *cut[3:]]]
    scores = scored(some, {})
    assert scores is not None
    assert scores.calls == 3
    assert scored([with_forecast(call, 50.0) for call in cut], {}) is None


def test_the_pinball_loss_is_least_at_the_true_quantiles() -> None:
    """Tests it against quantiles that are wider, and shifted."""
    lengths = np.random.default_rng(0).exponential(100, 4000)
    true = np.tile(np.quantile(lengths, SHARES), (4000, 1))
    assert pinball_tokens(true, lengths) < min(pinball_tokens(1.2 * true, lengths), pinball_tokens(true + 30, lengths))


def test_a_reservation_of_the_true_length_saves_what_is_possible() -> None:
    """Tests shares by hand: two calls of 1,000 prompt tokens and 96 output tokens, one foretold too short."""
    call = replace(loop(0, seed=63)[0], prompt_tokens=1000, completion_tokens=96)
    exact = reservations([with_forecast(call, 96.0)])[0]
    assert exact.saved_of_stage == exact.possible_of_stage == pytest.approx(1 - 1096 / 8192)
    assert exact.saved_of_generous == exact.possible_of_generous == pytest.approx(4000 / 5096)
    assert (exact.overflow, exact.fitting, exact.share_of_possible) == (0.0, 1.0, 1.0)
    short = reservations([with_forecast(call, 96.0), with_forecast(call, 95.0)])[0]
    assert short.overflow == 0.5
    long_prompt = replace(call, prompt_tokens=9000)
    assert reservations([with_forecast(long_prompt, 96.0)])[0].fitting == 0.0


def test_medians_are_by_place_and_the_global_one_where_it_is_new() -> None:
    """Tests the trivial baseline."""
    calls = loops(10, seed=64)
    medians = medians_of(calls)
    found = median_forecasts([calls[0], replace(calls[0], role="new")], medians)
    assert found["(app, role, phase) median"][0] == medians["writers", "reviewer", "loop"]
    assert found["(app, role, phase) median"][1] == found["global median"][0] == medians[()]


def test_boosting_learns() -> None:
    """Tests that the baseline is no straw man: it beats the medians on the made trace."""
    pytest.importorskip("sklearn")
    training, unseen = loops(60, seed=65), loops(20, seed=66)
    lengths = np.array([call.completion_tokens for call in unseen])
    medians = median_forecasts(unseen, medians_of(training))["(app, role, phase) median"]
    boosted = boosting_forecasts(training, unseen, iterations=40)
    assert np.abs(boosted - lengths).mean() < 0.6 * np.abs(medians - lengths).mean()


def test_quantiles_and_probabilities_are_each_others_inverse() -> None:
    """Tests distributions of random probabilities and slopes, from one end to the other."""
    generator = np.random.default_rng(1)
    some = LengthDistributions(generator.dirichlet(np.ones(CLASSES), 50), generator.uniform(-1, 1, (50, CLASSES)))
    levels = np.sort(generator.random((50, 9)), axis=1)
    lengths = some.quantiles(levels)
    assert (np.diff(lengths, axis=1) >= 0).all()
    for column in range(9):
        np.testing.assert_allclose(some.below(lengths[:, column]), levels[:, column], atol=1e-6)


def test_a_density_sums_to_one_and_mixing_keeps_it() -> None:
    """Tests the density against the probability of every token count up to the end."""
    generator = np.random.default_rng(2)
    one, other = (
        LengthDistributions(generator.dirichlet(np.ones(CLASSES), 1), generator.uniform(-1, 1, (1, CLASSES)))
        for _ in range(2)
    )
    mixed = one.mixed(other, np.array([0.3]))
    tokens = np.arange(EDGES[-1])
    for distribution in (one, mixed):
        repeated = LengthDistributions(
            np.repeat(distribution.probability, len(tokens), axis=0), np.repeat(distribution.slope, len(tokens), axis=0)
        )
        assert repeated.density(tokens).sum() == pytest.approx(1.0, abs=1e-6)
    assert mixed.below(np.array([100.0]))[0] == pytest.approx(
        0.3 * one.below(np.array([100.0]))[0] + 0.7 * other.below(np.array([100.0]))[0]
    )
    assert len(WIDTHS) == CLASSES
