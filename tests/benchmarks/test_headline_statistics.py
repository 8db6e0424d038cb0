"""Means, intervals and shares."""

from __future__ import annotations

import pytest

from benchmarks.headline.statistics import interval, paired_difference, share_of_way


def test_an_interval_holds_its_mean_and_narrows_with_more_values() -> None:
    few, many = interval([0.0, 10.0] * 3), interval([0.0, 10.0] * 50)
    assert few.low <= few.mean <= few.high
    assert many.high - many.low < few.high - few.low
    assert interval([4.0]).low == interval([4.0]).high == 4.0


def test_a_paired_difference_does_not_see_what_seeds_have_in_common() -> None:
    found = paired_difference([10.0, 50.0, 90.0], [8.0, 48.0, 88.0])
    assert (found.low, found.mean, found.high) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1.0], [1.0, 2.0])


def test_a_share_of_the_way_is_a_ratio_of_means() -> None:
    found = share_of_way([60.0, 60.0], [40.0, 50.0], [80.0, 60.0], 3.0)
    assert found is not None
    assert found.mean == pytest.approx(60.0)
    assert found.low <= found.mean <= found.high


def test_there_is_no_share_of_no_way() -> None:
    assert share_of_way([50.0], [50.0], [51.0], 3.0) is None
    assert share_of_way([], [], [], 3.0) is None


def test_there_is_no_share_of_a_way_that_one_seed_does_not_have() -> None:
    assert share_of_way([60.0, 50.0], [40.0, 50.0], [80.0, 50.0], 3.0) is None
