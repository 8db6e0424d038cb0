"""The simulated engine conforms, is deterministic, keeps its own law of time, and fails when told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from engine_conformance import EngineConformance, collect
from hypothesis import given
from hypothesis import strategies as st
from node_builders import make_launch, make_model, make_request

from maestro.fleet import SpeedCoefficients
from maestro.reasons import Reason
from maestro_node.engines.clock import MonotonicClock
from maestro_node.engines.interface import EngineError, Finished
from maestro_node.engines.simulated import Faults, SimulatedEngine
from maestro_node.engines.simulated.engine import SimulatedReplica
from maestro_node.engines.simulated.sharing import SharedAccelerators


@dataclass
class InstantClock:
    """A virtual clock for one task: sleeping moves it."""

    time_s: float = 100.0

    def now(self) -> float:
        return self.time_s

    async def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s
        await asyncio.sleep(0)


async def started(engine: SimulatedEngine) -> SimulatedReplica:
    replica = await engine.start(make_launch(make_model()))
    await replica.wait_ready()
    return replica


class TestSimulatedEngineConforms(EngineConformance):
    @pytest.fixture(params=[True, False])
    def engine(self, request: pytest.FixtureRequest) -> SimulatedEngine:
        return SimulatedEngine(MonotonicClock(), enable_sleep=request.param)

    @pytest.fixture
    async def replica(self, engine: SimulatedEngine) -> SimulatedReplica:
        slow = replace(make_model(), speeds={"cpu": SpeedCoefficients(1e6, 40.0, 0.1, 0.5, 0.0)})
        replica = await engine.start(make_launch(slow))
        await replica.wait_ready()
        return replica


async def test_the_same_seed_gives_the_same_events_at_the_same_times() -> None:
    async def run() -> tuple[object, float]:
        clock = InstantClock()
        events = await collect(await started(SimulatedEngine(clock, seed=3)), make_request("r"))
        return events, clock.now()

    assert await run() == await run()


async def test_a_lone_request_takes_prefill_and_decode_time() -> None:
    clock = InstantClock()
    replica = await started(SimulatedEngine(clock))
    began_s = clock.now()
    end = (await collect(replica, make_request("r", tokens=100)))[-1]
    assert isinstance(end, Finished)
    assert clock.now() - began_s == pytest.approx(end.prompt_tokens / 1e6 + 100 / 1e5, rel=1e-3)


async def test_a_start_can_be_told_to_fail() -> None:
    engine = SimulatedEngine(InstantClock(), faults=Faults(fails_to_start=frozenset({"small"})))
    with pytest.raises(EngineError) as error:
        await started(engine)
    assert error.value.reason is Reason.LOAD_FAILED


async def test_an_engine_can_be_told_to_die_while_decoding() -> None:
    replica = await started(SimulatedEngine(InstantClock(), faults=Faults(dies_at_token={"small": 7})))
    with pytest.raises(EngineError) as error:
        await collect(replica, make_request("r"))
    assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_DIED, True)
    assert "told to die" in await replica.wait_exit()


async def test_an_engine_can_be_told_to_abort_a_request() -> None:
    replica = await started(SimulatedEngine(InstantClock(), faults=Faults(aborts_at_token={"small": 7})))
    with pytest.raises(EngineError) as error:
        await collect(replica, make_request("r"))
    assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_ABORTED, True)


ONE = frozenset({"n1/0"})
SPEED = SpeedCoefficients(
    prefill_tokens_per_s=1000, decode_tokens_per_s=100, batch_slope=0.5, colocation_slope=1.0, start_s=0
)


def test_requests_of_one_batch_slow_each_other_by_the_slope() -> None:
    shared = SharedAccelerators(0.0)
    shared.add("r1", "a", ONE, SPEED, 0, 0.0)
    shared.add("r2", "a", ONE, SPEED, 0, 0.0)
    shared.advance(1.5)
    assert shared.decoded_tokens("r1") == 100


def test_active_replicas_on_one_accelerator_slow_each_other() -> None:
    shared = SharedAccelerators(0.0)
    shared.add("r1", "a", ONE, SPEED, 0, 0.0)
    shared.add("r2", "b", ONE, SPEED, 0, 0.0)
    shared.advance(1.0)
    assert shared.decoded_tokens("r1") == 50
    shared.remove("r2", 1.0)
    shared.advance(2.0)
    assert shared.decoded_tokens("r1") == 150


def test_a_replica_on_several_accelerators_is_as_slow_as_the_busiest_of_them() -> None:
    shared = SharedAccelerators(0.0)
    shared.add("r1", "whole", frozenset({"n1/0", "n1/1"}), SPEED, 0, 0.0)
    shared.add("r2", "half", frozenset({"n1/1"}), SPEED, 0, 0.0)
    shared.add("r3", "alone", frozenset({"n1/2"}), SPEED, 0, 0.0)
    shared.advance(1.0)
    assert [shared.decoded_tokens(name) for name in ("r1", "r2", "r3")] == [50, 50, 100]


def test_a_prompt_is_read_before_the_first_token() -> None:
    shared = SharedAccelerators(0.0)
    shared.add("r1", "a", ONE, SPEED, 500, 0.0)
    shared.advance(0.5)
    assert shared.decoded_tokens("r1") == 0
    shared.advance(1.5)
    assert shared.decoded_tokens("r1") == 100


def test_a_prompt_takes_its_overhead_besides_its_tokens() -> None:
    shared = SharedAccelerators(0.0)
    shared.add("r1", "a", ONE, replace(SPEED, prefill_overhead_s=0.25), 500, 0.0)
    shared.advance(0.75)
    assert shared.decoded_tokens("r1") == 0
    shared.advance(1.75)
    assert shared.decoded_tokens("r1") == 100


@given(st.lists(st.floats(0.001, 3.0), max_size=20))
def test_progress_does_not_depend_on_the_time_steps(steps: list[float]) -> None:
    whole, stepped = SharedAccelerators(0.0), SharedAccelerators(0.0)
    for shared in (whole, stepped):
        shared.add("r1", "a", ONE, SPEED, 700, 0.0)
        shared.add("r2", "a", ONE, SPEED, 100, 0.0)
        shared.add("r3", "b", ONE, SPEED, 900, 0.0)
    moment_s = 0.0
    for step in steps:
        moment_s += step
        stepped.advance(moment_s)
    whole.advance(moment_s)
    for name in ("r1", "r2", "r3"):
        assert abs(stepped.decoded_tokens(name) - whole.decoded_tokens(name)) <= 1
