"""The node over gRPC, with simulated engines: every command, its refusals, and streams that come and go."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from node_builders import make_execute, make_model, make_reference
from node_server import RunningNode, phases, running, simulated_config

from maestro.errors import InvalidInputError
from maestro.fleet import SpeedCoefficients
from maestro.v1 import node_pb2, workflow_pb2

SLOW = SpeedCoefficients(1e6, 200.0, 0.0, 0.0, 0.0)


@pytest.fixture
async def node():
    async with running(simulated_config()) as node:
        yield node


@pytest.fixture
async def slow_node():
    """Decodes 200 tokens a second, so that a stream can be left in its middle."""
    async with running(simulated_config(models={"small": replace(make_model(), speeds={"cpu": SLOW})})) as node:
        yield node


@pytest.fixture
async def dawdling_node():
    """Decodes one token a second, so that an attempt runs for as long as a test may want it to."""
    dawdling = replace(make_model(), speeds={"cpu": replace(SLOW, decode_tokens_per_s=1.0)})
    async with running(simulated_config(models={"small": dawdling})) as node:
        yield node


async def execute(node: RunningNode, request: node_pb2.ExecuteStageRequest) -> list[node_pb2.AttemptEvent]:
    return [response.event async for response in node.stub.ExecuteStage(request)]


def text_of(events: list[node_pb2.AttemptEvent]) -> str:
    """The streamed text; its offsets have to be without gaps."""
    text = ""
    for event in events:
        if event.WhichOneof("event") == "tokens":
            assert event.tokens.offset == len(text.encode())
            text += event.tokens.text
    return text


def reason_of(error: grpc.aio.AioRpcError) -> str | None:
    return dict(error.trailing_metadata()).get("maestro-reason")


async def refusal(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def test_capabilities_are_those_of_node_and_engine(node: RunningNode) -> None:
    told = await node.stub.GetCapabilities(node_pb2.GetCapabilitiesRequest())
    assert (told.node, told.engine, told.sleep, told.kv_elastic) == ("n1", "simulated", False, False)
    assert [item.name for item in told.accelerators] == ["n1/0", "n1/1"]
    assert list(told.models) == ["other", "small"]


async def test_health_and_reflection_answer(node: RunningNode) -> None:
    health = health_pb2_grpc.HealthStub(node.channel)
    told = await health.Check(health_pb2.HealthCheckRequest(service="maestro.v1.NodeService"))
    assert told.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(node.channel)
    listing = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name async for answer in listing for service in answer.list_services_response.service}
    assert "maestro.v1.NodeService" in names


async def test_a_stage_streams_its_output_and_ends_with_usage(node: RunningNode) -> None:
    await node.load()
    events = await execute(node, make_execute(tokens=25))
    assert events[0].WhichOneof("event") == "started"
    finished = events[-1].finished
    assert (finished.finish_reason, finished.usage.completion_tokens) == ("length", 25)
    assert text_of(events) == finished.output
    assert 0 < finished.first_token_s <= finished.total_s
    assert finished.last_byte_monotonic_s > 0


async def test_executing_an_attempt_again_follows_it(node: RunningNode) -> None:
    await node.load()
    first = await execute(node, make_execute())
    assert text_of(await execute(node, make_execute(epoch=2))) == text_of(first)
    status = await node.stub.GetStatus(node_pb2.GetStatusRequest())
    assert len(status.attempts) == 1


async def test_an_attempt_outlives_its_stream_and_is_taken_up_at_an_offset(slow_node: RunningNode) -> None:
    await slow_node.load()
    received = ""
    call = slow_node.stub.ExecuteStage(make_execute(tokens=80))
    async for response in call:
        if response.event.WhichOneof("event") == "tokens":
            received += response.event.tokens.text
        if len(received) > 30:
            break
    call.cancel()
    offset = len(received.encode())
    again = slow_node.stub.ReattachStage(
        node_pb2.ReattachStageRequest(scheduler_epoch=1, attempt_id="a1", from_offset=offset)
    )
    events = [response.event async for response in again]
    tail = "".join(event.tokens.text for event in events if event.WhichOneof("event") == "tokens")
    assert received + tail == events[-1].finished.output
    assert events[-1].finished.usage.completion_tokens == 80


async def test_a_result_is_kept_until_it_is_acknowledged(node: RunningNode) -> None:
    await node.load()
    await execute(node, make_execute())
    acknowledge = node_pb2.AckResultRequest(scheduler_epoch=1, attempt_ids=["a1"])
    await node.stub.AckResult(acknowledge)
    await node.stub.AckResult(acknowledge)
    again = node.stub.ReattachStage(node_pb2.ReattachStageRequest(scheduler_epoch=1, attempt_id="a1"))
    error = await refusal(again.read())
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_a_cancelled_attempt_fails_with_its_reason_and_frees_its_place(dawdling_node: RunningNode) -> None:
    await dawdling_node.load()
    following = asyncio.create_task(execute(dawdling_node, make_execute(tokens=500)))
    await dawdling_node.wait_for(lambda status: len(status.attempts) == 1)
    cancel = node_pb2.CancelStageRequest(scheduler_epoch=1, attempt_id="a1")
    await dawdling_node.stub.CancelStage(cancel)
    await dawdling_node.stub.CancelStage(cancel)
    failed = (await following)[-1].failed
    assert (failed.reason, failed.retryable) == ("cancelled_by_client", False)
    status = await dawdling_node.stub.GetStatus(node_pb2.GetStatusRequest())
    assert status.accelerators[0].replicas[0].kv_reserved_bytes == 0


async def test_cancelling_an_unknown_attempt_is_not_found(node: RunningNode) -> None:
    error = await refusal(node.stub.CancelStage(node_pb2.CancelStageRequest(scheduler_epoch=1, attempt_id="x")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_a_busy_replica_is_not_unloaded(dawdling_node: RunningNode) -> None:
    reference = await dawdling_node.load()
    following = asyncio.create_task(execute(dawdling_node, make_execute(tokens=60)))
    await dawdling_node.wait_for(lambda status: len(status.attempts) == 1)
    unload = node_pb2.UnloadModelRequest(scheduler_epoch=1, replica=reference)
    error = await refusal(dawdling_node.stub.UnloadModel(unload))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "waiting_for_drain")
    await dawdling_node.stub.CancelStage(node_pb2.CancelStageRequest(scheduler_epoch=1, attempt_id="a1"))
    assert (await following)[-1].WhichOneof("event") == "failed"
    await dawdling_node.stub.UnloadModel(unload)
    await dawdling_node.stub.UnloadModel(unload)
    status = await dawdling_node.stub.GetStatus(node_pb2.GetStatusRequest())
    assert status.accelerators[0].charged_bytes == 0


async def test_stale_epochs_and_generations_are_failed_preconditions(node: RunningNode) -> None:
    await node.load(epoch=5)
    stale_epoch = await refusal(node.stub.ExecuteStage(make_execute(epoch=4)).read())
    stale_generation = await refusal(node.stub.ExecuteStage(make_execute(epoch=5, generation=2)).read())
    for error in (stale_epoch, stale_generation):
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "stale_generation")


async def test_a_replica_that_still_loads_takes_no_stage() -> None:
    loading = replace(make_model(), speeds={"cpu": replace(SLOW, start_s=30.0)})
    async with running(simulated_config(models={"small": loading})) as node:
        await node.stub.LoadModel(
            node_pb2.LoadModelRequest(scheduler_epoch=1, replica=make_reference(), kv_pool_bytes=10_000)
        )
        error = await refusal(node.stub.ExecuteStage(make_execute()).read())
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "waiting_for_load")
        unload = node_pb2.UnloadModelRequest(scheduler_epoch=1, replica=make_reference())
        await node.stub.UnloadModel(unload)
        status = await node.stub.GetStatus(node_pb2.GetStatusRequest())
        assert phases(status) == []


async def test_what_does_not_fit_is_resource_exhausted(node: RunningNode) -> None:
    await node.load()
    too_much_kv = await refusal(node.stub.ExecuteStage(make_execute(reservation=10_001)).read())
    load = node_pb2.LoadModelRequest(scheduler_epoch=1, replica=make_reference("other"), kv_pool_bytes=10_000)
    too_heavy = await refusal(node.stub.LoadModel(load))
    for error, reason in ((too_much_kv, "waiting_for_kv"), (too_heavy, "memory_exceeded")):
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, reason)


def broken(**change: object) -> node_pb2.ExecuteStageRequest:
    request = make_execute()
    request.MergeFrom(node_pb2.ExecuteStageRequest(**change))
    return request


def without(field: str) -> node_pb2.ExecuteStageRequest:
    request = make_execute()
    request.ClearField(field)
    return request


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (without("attempt_id"), "attempt_id"),
        (without("messages"), "messages"),
        (without("max_tokens"), "max_tokens"),
        (without("replica"), "replica.accelerator"),
        (without("kv_reservation_bytes"), "kv_reservation_bytes"),
        (broken(priority=101), "priority"),
        (broken(messages=[workflow_pb2.ChatMessage(role="boss", content="x")]), "messages[1].role"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_input_names_its_field(node: RunningNode, request_: node_pb2.ExecuteStageRequest, field: str) -> None:
    await node.load()
    error = await refusal(node.stub.ExecuteStage(request_).read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(f"{field}: ")


@pytest.mark.parametrize("offset", [10_000_000, 2**63])
async def test_an_offset_past_the_output_is_invalid(node: RunningNode, offset: int) -> None:
    await node.load()
    await execute(node, make_execute())
    request = node_pb2.ReattachStageRequest(scheduler_epoch=1, attempt_id="a1", from_offset=offset)
    error = await refusal(node.stub.ReattachStage(request).read())
    assert (error.code(), "from_offset" in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_prompt_of_five_megabytes_is_answered_by_the_engines_limit(node: RunningNode) -> None:
    await node.load()
    events = await execute(node, broken(messages=[workflow_pb2.ChatMessage(role="user", content="x" * 5_000_000)]))
    assert (events[-1].failed.reason, events[-1].failed.retryable) == ("context_limit", False)


async def test_sleep_is_unimplemented_where_the_capability_is_false(node: RunningNode) -> None:
    reference = await node.load()
    error = await refusal(node.stub.SleepModel(node_pb2.SleepModelRequest(scheduler_epoch=1, replica=reference)))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_replica_sleeps_and_wakes() -> None:
    async with running(simulated_config(enable_sleep=True)) as node:
        reference = await node.load()
        await node.stub.SleepModel(node_pb2.SleepModelRequest(scheduler_epoch=1, replica=reference))
        status = await node.stub.GetStatus(node_pb2.GetStatusRequest())
        assert phases(status) == [node_pb2.REPLICA_PHASE_SLEEPING]
        assert status.accelerators[0].charged_bytes == 0
        await node.stub.WakeModel(node_pb2.WakeModelRequest(scheduler_epoch=1, replica=reference))
        assert (await execute(node, make_execute()))[-1].WhichOneof("event") == "finished"


async def test_a_budget_bounds_what_is_admitted(node: RunningNode) -> None:
    reference = await node.load()
    await node.stub.SetKvBudget(node_pb2.SetKvBudgetRequest(scheduler_epoch=1, replica=reference, kv_budget_bytes=999))
    error = await refusal(node.stub.ExecuteStage(make_execute(reservation=1_000)).read())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_address_in_use_is_an_error_that_says_so(node: RunningNode) -> None:
    with pytest.raises(InvalidInputError, match="listen_address: cannot be bound"):
        async with running(replace(simulated_config(), listen_address=node.address)):
            pass


async def test_elastic_kv_needs_an_engine_that_has_it() -> None:
    config = simulated_config()
    accelerators = tuple(replace(item, kv_elastic=True) for item in config.node.accelerators)
    elastic = replace(config, node=replace(config.node, accelerators=accelerators))
    async with running(elastic) as node:
        assert (await node.stub.GetCapabilities(node_pb2.GetCapabilitiesRequest())).kv_elastic
