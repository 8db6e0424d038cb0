"""The agent when engines break: attempts fail with a reason, memory comes back last, the next load works."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from node_builders import POOL_BYTES, make_model, make_node, make_request
from node_waiting import eventually

from maestro.errors import InvalidInputError
from maestro.fleet import SpeedCoefficients
from maestro.snapshot import ReplicaPhase
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.replica import ReplicaKey
from maestro_node.engines.clock import MonotonicClock
from maestro_node.engines.simulated import Faults, SimulatedEngine
from maestro_node.server.agent import NodeAgent
from maestro_node.server.attempt_run import AttemptRun

KEY = ReplicaKey("n1/0", "small", 1)


class CountingEngine(SimulatedEngine):
    """Knows how many of its replicas are between start and ready, and how many were stopped."""

    starting = 0
    most_starting = 0
    stopped = 0

    async def start(self, launch):
        replica = await super().start(launch)
        wait_ready, stop = replica.wait_ready, replica.stop

        async def counted_wait() -> None:
            self.starting += 1
            self.most_starting = max(self.most_starting, self.starting)
            try:
                await wait_ready()
            finally:
                self.starting -= 1

        async def counted_stop() -> None:
            self.stopped += 1
            await stop()

        replica.wait_ready, replica.stop = counted_wait, counted_stop
        return replica


def make_agent(*, decode: float = 1e4, start_s: float = 0.0, **faults: object) -> tuple[NodeAgent, CountingEngine]:
    engine = CountingEngine(MonotonicClock(), faults=Faults(**faults))
    speeds = {"cpu": SpeedCoefficients(1e6, decode, 0.0, 0.0, start_s)}
    models = {name: replace(make_model(name), speeds=speeds) for name in ("small", "other")}
    models["wide"] = replace(make_model("wide", size=2), speeds=speeds)
    return NodeAgent(make_node(), models, engine, engine.clock), engine


async def until(agent: NodeAgent, key: ReplicaKey, phase: ReplicaPhase) -> None:
    async with asyncio.timeout(60):
        async for _ in agent.feed.changes():
            if agent.core.replica(key).phase is phase:
                return


async def ready(agent: NodeAgent, key: ReplicaKey = KEY) -> None:
    agent.load(1, key, POOL_BYTES)
    await until(agent, key, ReplicaPhase.READY)


def execute(agent: NodeAgent, name: str, tokens: int = 50):
    return agent.execute(1, Attempt(name, KEY, 1_000, name), make_request(name, tokens=tokens))


async def last_event(run):
    return [event async for event in run.follow()][-1]


async def test_a_start_that_fails_is_reported_and_its_memory_freed() -> None:
    agent, engine = make_agent(fails_to_start=frozenset({"small"}))
    agent.load(1, KEY, POOL_BYTES)
    await until(agent, KEY, ReplicaPhase.FAILED)
    assert "told to fail its start" in agent.core.replica(KEY).detail
    assert agent.core.ledgers["n1/0"].charged_bytes == 0
    assert engine.stopped == 1
    await agent.close()


async def test_an_engine_that_dies_takes_its_attempts_along_and_can_be_loaded_anew() -> None:
    agent, engine = make_agent(dies_at_token={"small": 10})
    await ready(agent)
    runs = [execute(agent, name) for name in ("a", "b")]
    for event in await asyncio.gather(*map(last_event, runs)):
        assert (event.failed.reason, event.failed.retryable) == ("engine_died", True)
    await until(agent, KEY, ReplicaPhase.FAILED)
    assert engine.stopped == 1
    engine.faults = Faults()
    again = KEY._replace(generation=2)
    await ready(agent, again)
    await agent.close()


async def test_an_engine_killed_while_idle_is_noticed() -> None:
    agent, _ = make_agent()
    await ready(agent)
    agent._lives[KEY].replica.die("killed by a test")
    await until(agent, KEY, ReplicaPhase.FAILED)
    await agent.unload(1, KEY)
    assert agent.core.ledgers["n1/0"].replicas == {}
    await agent.close()


async def test_an_aborted_attempt_is_retryable_and_leaves_the_replica_ready() -> None:
    agent, engine = make_agent(aborts_at_token={"small": 5})
    await ready(agent)
    event = await last_event(execute(agent, "a"))
    assert (event.failed.reason, event.failed.retryable) == ("engine_aborted", True)
    engine.faults = Faults()
    assert (await last_event(execute(agent, "b"))).WhichOneof("event") == "finished"
    await agent.close()


async def test_starts_on_one_accelerator_are_one_at_a_time() -> None:
    agent, engine = make_agent(start_s=0.05)
    other = ReplicaKey("n1/0", "other", 1)
    agent.load(1, KEY, POOL_BYTES)
    agent.load(1, other, POOL_BYTES)
    await until(agent, KEY, ReplicaPhase.READY)
    await until(agent, other, ReplicaPhase.READY)
    assert engine.most_starting == 1
    await agent.close()


async def test_starts_on_two_accelerators_go_side_by_side() -> None:
    agent, engine = make_agent(start_s=0.2)
    elsewhere = ReplicaKey("n1/1", "small", 1)
    agent.load(1, KEY, POOL_BYTES)
    agent.load(1, elsewhere, POOL_BYTES)
    await until(agent, KEY, ReplicaPhase.READY)
    await until(agent, elsewhere, ReplicaPhase.READY)
    assert engine.most_starting == 2
    await agent.close()


async def test_an_unload_goes_on_after_its_caller_has_left() -> None:
    agent, engine = make_agent(start_s=300.0)
    agent.load(1, KEY, POOL_BYTES)
    await eventually(lambda: engine.starting)
    unload = asyncio.create_task(agent.unload(1, KEY))
    await asyncio.sleep(0)
    unload.cancel()
    await eventually(lambda: not agent.core.ledgers["n1/0"].charged_bytes)
    assert engine.stopped == 1
    await agent.close()


async def test_a_place_is_free_by_the_time_the_result_is_seen() -> None:
    agent, _ = make_agent()
    await ready(agent)
    async for event in execute(agent, "a").follow():
        if event.WhichOneof("event") == "finished":
            assert agent.core.replica(KEY).reservations == {}
    await agent.close()


async def test_closing_ends_attempts_and_stops_engines() -> None:
    agent, engine = make_agent(decode=10.0)
    await ready(agent)
    run = execute(agent, "a")
    await agent.close()
    event = await last_event(run)
    assert (event.failed.reason, event.failed.retryable) == ("node_lost", True)
    assert engine.stopped == 1
    assert agent.core.attempts.find("a").state is AttemptState.FAILED


@pytest.mark.parametrize("offset", [1, 2])
async def test_an_offset_inside_a_character_is_refused(offset: int) -> None:
    run = AttemptRun("a")
    run.append("€", 1)
    with pytest.raises(InvalidInputError, match="inside a character"):
        run.check_offset(offset)
    run.check_offset(3)
