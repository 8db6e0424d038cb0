"""Demands are rounded up and capacities down; step profiles agree with counting tick by tick."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from snapshot_builders import accelerator, snapshot

from maestro_solver.grid import Grid
from maestro_solver.heuristics.profile import FOREVER, StepProfile

holds = st.tuples(st.integers(0, 20), st.integers(1, 8), st.integers(1, 3))


@given(st.floats(0.0, 1e6), st.sampled_from([0.1, 0.25, 1.0]))
def test_times_are_covered_and_deadlines_contained(seconds: float, tick_s: float) -> None:
    grid = Grid(tick_s, 1)
    assert grid.seconds(grid.ticks_up(seconds)) >= seconds - 1e-6
    assert grid.seconds(grid.ticks_down(seconds)) <= seconds + 1e-6
    assert 0 <= grid.ticks_up(seconds) - grid.ticks_down(seconds) <= 1


@given(st.integers(0, 10**6), st.floats(0.05, 2.0))
def test_whole_ticks_stay_as_they_are(ticks: int, tick_s: float) -> None:
    grid = Grid(tick_s, 1)
    assert grid.ticks_up(grid.seconds(ticks)) == ticks == grid.ticks_down(grid.seconds(ticks))


def test_infinite_times_are_far_but_finite() -> None:
    grid = Grid(0.25, 1)
    assert grid.ticks_down(float("inf")) > 10**9 > -(10**9) > grid.ticks_down(float("-inf"))


@given(st.integers(0, 2**40))
def test_memory_demands_are_covered_and_capacities_contained(amount: int) -> None:
    grid = Grid(1.0, 4096)
    assert grid.units_down(amount) * 4096 <= amount <= grid.units_up(amount) * 4096


def test_small_memories_are_counted_byte_by_byte_and_large_ones_in_coarser_units() -> None:
    assert Grid.suited(snapshot([accelerator("gpu0", memory=100)], [])).memory_unit_bytes == 1
    assert Grid.suited(snapshot([accelerator("gpu0", memory=80 << 30)], [])).memory_unit_bytes == 8192
    assert Grid.suited(snapshot([], [])).memory_unit_bytes == 1


@given(st.lists(holds, max_size=8), st.integers(0, 25), st.integers(1, 6), st.integers(0, 6))
def test_the_earliest_fit_is_the_first_window_with_room(
    held: list[tuple[int, int, int]], start: int, duration: int, room: int
) -> None:
    profile = StepProfile()
    ticks = [0] * 80
    for begin, length, amount in held:
        profile.add(begin, begin + length, amount)
        for tick in range(begin, begin + length):
            ticks[tick] += amount
    first = next(at for at in range(start, 70) if max(ticks[at : at + duration]) <= room)
    assert profile.earliest_fit(start, duration, room) == first
    assert [profile.level_at(tick) for tick in range(40)] == ticks[:40]


def test_what_is_held_for_good_leaves_no_later_fit() -> None:
    profile = StepProfile()
    profile.add(5, FOREVER, 3)
    assert profile.earliest_fit(0, 5, 2) == 0
    assert profile.earliest_fit(1, 5, 2) == FOREVER
    assert profile.peaks_from() == [3, 3]
