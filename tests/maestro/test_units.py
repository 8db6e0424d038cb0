"""Amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestro.errors import InvalidInputError
from maestro.units import format_bytes, format_duration, parse_bytes, parse_bytes_per_s, parse_duration_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [("72 GiB", 72 * 2**30), ("1.5GiB", 3 * 2**29), ("269 MB", 269_000_000), ("0 B", 0), (4096, 4096), ("4096", 4096)],
)
def test_that_sizes_become_bytes(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("250 ms", 0.25), ("30 s", 30), ("2 min", 120), ("1 h", 3600), (1.5, 1.5)]
)
def test_that_durations_become_seconds(text, expected):
    assert parse_duration_s(text) == pytest.approx(expected)


@pytest.mark.parametrize(("text", "expected"), [("100 MB/s", 1e8), ("10 Gbit/s", 1.25e9), ("1 GiB/s", 2**30), (7, 7)])
def test_that_bandwidths_become_bytes_per_second(text, expected):
    assert parse_bytes_per_s(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1 GiB", "1 GiB 2", "nan", "1e400 B", True, None, "1 s"])
def test_that_what_is_no_size_is_refused_with_a_remedy(text):
    with pytest.raises(InvalidInputError) as caught:
        parse_bytes(text, "memory")
    assert caught.value.field == "memory"


def test_that_an_unknown_unit_names_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"unknown unit 'gb'.*GB"):
        parse_bytes("3 gb")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.085, "85 ms"), (12.34, "12.3 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")]
)
def test_that_durations_are_written_for_people(seconds, expected):
    assert format_duration(seconds) == expected


@given(st.integers(0, 2**50))
def test_that_a_written_size_reads_back_within_its_four_digits(count):
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=1e-3, abs=1)
