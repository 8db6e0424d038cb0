"""What every engine has to do. A test module inherits the class and gives the fixtures ``engine`` and ``replica``.

``replica`` is ready, serves batches of at least 4 and contexts of at least 512 tokens.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from node_builders import make_request
from node_waiting import eventually

from maestro.errors import UnsupportedError
from maestro.reasons import Reason
from maestro_node.engines.interface import (
    Accepted,
    Engine,
    EngineError,
    EngineEvent,
    EngineReplica,
    Finished,
    FinishReason,
    GenerationRequest,
    TextChunk,
)


async def collect(replica: EngineReplica, request: GenerationRequest) -> list[EngineEvent]:
    async with aclosing(replica.generate(request)) as events:
        return [event async for event in events]


async def wait_for_requests(replica: EngineReplica, count: int) -> None:
    async def has_them() -> bool:
        return (await replica.usage()).running_requests == count

    await eventually(has_them)


class EngineConformance:
    async def test_a_request_is_accepted_then_answered_then_finished(self, replica: EngineReplica) -> None:
        events = await collect(replica, make_request("order", tokens=12))
        assert events[0] == Accepted()
        assert all(isinstance(event, TextChunk) for event in events[1:-1])
        end = events[-1]
        assert isinstance(end, Finished)
        assert end.finish_reason is FinishReason.LENGTH
        assert end.completion_tokens == 12
        assert end.prompt_tokens > 0

    async def test_greedy_requests_with_the_same_seed_get_the_same_text(self, replica: EngineReplica) -> None:
        async def text() -> str:
            events = await collect(replica, make_request("same", tokens=8))
            return "".join(event.text for event in events if isinstance(event, TextChunk))

        assert await text() == await text()

    async def test_a_batch_of_requests_is_answered_whole(self, replica: EngineReplica) -> None:
        requests = [make_request(f"batch{index}", tokens=5 + index) for index in range(4)]
        answers = await asyncio.gather(*(collect(replica, request) for request in requests))
        ends = [events[-1] for events in answers]
        assert [end.completion_tokens for end in ends if isinstance(end, Finished)] == [5, 6, 7, 8]

    async def test_closing_the_events_aborts_the_request(self, replica: EngineReplica) -> None:
        async with aclosing(replica.generate(make_request("closed", tokens=400))) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    break
        await wait_for_requests(replica, 0)

    async def test_cancelling_the_reader_aborts_the_request(self, replica: EngineReplica) -> None:
        reader = asyncio.create_task(collect(replica, make_request("cancelled", tokens=400)))
        await wait_for_requests(replica, 1)
        reader.cancel()
        await wait_for_requests(replica, 0)
        assert reader.cancelled()

    async def test_a_prompt_over_the_context_is_final_and_harms_nothing(self, replica: EngineReplica) -> None:
        with pytest.raises(EngineError) as error:
            await collect(replica, make_request("long", content="word " * 20_000))
        assert (error.value.reason, error.value.retryable) == (Reason.CONTEXT_LIMIT, False)
        assert await collect(replica, make_request("after", tokens=2))

    async def test_usage_is_a_share_of_the_pool(self, replica: EngineReplica) -> None:
        async with aclosing(replica.generate(make_request("usage", tokens=300))) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    break
            used = await replica.usage()
        assert 0 <= used.kv_used_fraction <= 1
        await wait_for_requests(replica, 0)

    async def test_sleep_is_what_the_capabilities_say(self, engine: Engine, replica: EngineReplica) -> None:
        if engine.capabilities.sleep:
            await replica.sleep()
            await replica.wake()
            assert await collect(replica, make_request("awake", tokens=2))
        else:
            with pytest.raises(UnsupportedError):
                await replica.sleep()
            with pytest.raises(UnsupportedError):
                await replica.wake()
