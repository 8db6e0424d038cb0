"""Pictures of a run over time, from a real record."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.headline.figures.style import set_up
from benchmarks.headline.grid import QUICK, Grid, points_of
from benchmarks.headline.timeline.gantt import Span, gantt, lanes
from benchmarks.headline.timeline.memory_map import memory_map, parts
from benchmarks.headline.timeline.record import Call, Record, Replica, read_record
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.recorder import Recorder

TINY = Grid("tiny", QUICK.scenarios, ("agents",), ("1.0",), (11,), 200.0)


@pytest.fixture(scope="module")
def record() -> Record:
    sink = io.StringIO()
    experiment = replace(points_of(TINY)[0].base, rate_per_s=0.3)
    run(experiment, policy_named("edf"), 11, recorder=Recorder(sink))
    return read_record(sink.getvalue().splitlines())


def test_a_record_holds_calls_and_memory_of_every_accelerator(record: Record) -> None:
    assert list(record.sizes) == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert record.calls
    assert all(call.end_s >= call.start_s for call in record.calls)
    assert set(record.memory) <= set(record.sizes)


def test_memory_never_outgrows_the_accelerator(record: Record) -> None:
    for name, steps in record.memory.items():
        for _, found in steps:
            assert sum(sum(parts(replica).values()) for replica in found) <= record.sizes[name] + 1e-6


def test_memory_at_an_instant_is_what_was_said_last() -> None:
    replica = Replica("m", "ready", 1.0, 2.0, 1.0, 0.5)
    found = Record({"gpu": 10.0}, [], {"gpu": [(1.0, ()), (2.0, (replica,))]})
    assert found.at("gpu", [0.0, 1.5, 2.0, 9.0]) == [(), (), (replica,), (replica,)]


def test_parts_add_up_to_what_a_replica_takes() -> None:
    assert sum(parts(Replica("m", "ready", 30.0, 12.0, 5.0, 2.0)).values()) == 42.0
    outgrown = parts(Replica("m", "ready", 30.0, 12.0, 5.0, 7.0))
    assert (outgrown["used"], outgrown["reserved"], outgrown["free"]) == (7.0, 0.0, 5.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 30)), max_size=30))
def test_no_two_calls_are_on_one_lane_at_once(spans: list[tuple[float, float]]) -> None:
    calls = [Call("gpu", "m", start, start + length, late=False) for start, length in sorted(spans)]
    by_lane: dict[int, list[Call]] = {}
    for call, lane in zip(calls, lanes(calls), strict=True):
        by_lane.setdefault(lane, []).append(call)
    for found in by_lane.values():
        assert all(one.end_s <= other.start_s for one, other in pairwise(found))


def test_both_pictures_have_a_row_for_every_accelerator(record: Record) -> None:
    set_up()
    assert len(gantt(record, Span(60.0, 120.0), "a").axes) == 4
    assert len(memory_map(record, Span(0.0, 200.0), "b").axes) == 4
