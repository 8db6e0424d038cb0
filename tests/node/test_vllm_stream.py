"""What is sent to vLLM and what is made of its answers."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from engine_conformance import collect
from node_builders import make_request

from maestro.reasons import Reason
from maestro.workflow import ChatMessage, Sampling
from maestro_node.engines.interface import Accepted, EngineError, Finished, FinishReason, GenerationRequest, TextChunk
from maestro_node.engines.vllm.client import VllmClient
from maestro_node.engines.vllm.stream import completion_body, parse_chunk, parse_usage, refusal, vllm_priority


def test_a_more_urgent_request_gets_a_smaller_vllm_priority() -> None:
    assert vllm_priority(100) < vllm_priority(0) < vllm_priority(-100)
    urgent = GenerationRequest("r", (ChatMessage("user", "hi"),), Sampling(), 5, priority=40)
    assert completion_body(urgent, "m")["priority"] == -40


def test_unset_sampling_parameters_are_left_to_the_engine() -> None:
    body = completion_body(GenerationRequest("r", (ChatMessage("user", "hi"),), Sampling(), 5), "m")
    assert set(body) == {"model", "messages", "max_tokens", "priority", "stream", "stream_options"}


def test_set_sampling_parameters_are_sent_even_where_they_are_zero() -> None:
    sampling = Sampling(temperature=0.0, seed=0, stop=("END",), min_tokens=0, ignore_eos=False)
    body = completion_body(GenerationRequest("r", (ChatMessage("user", "hi"),), sampling, 5), "m")
    assert (body["temperature"], body["seed"], body["stop"], body["ignore_eos"]) == (0.0, 0, ["END"], False)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens",
        "max_tokens=4000 cannot be greater than max_model_len=2048. Please request fewer output tokens.",
    ],
)
def test_a_context_overflow_is_told_apart_from_other_refusals(message: str) -> None:
    error = refusal(400, json.dumps({"error": {"message": message, "code": 400}}).encode())
    assert (error.reason, error.retryable) == (Reason.CONTEXT_LIMIT, False)


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (400, Reason.ENGINE_REJECTED, False),
        (404, Reason.ENGINE_REJECTED, False),
        (500, Reason.ENGINE_ABORTED, True),
        (503, Reason.ENGINE_ABORTED, True),
    ],
)
def test_http_errors_become_typed_reasons(status: int, reason: Reason, retryable: bool) -> None:
    error = refusal(status, b'{"error": {"message": "temperature must be in [0, 2]"}}')
    assert (error.reason, error.retryable) == (reason, retryable)
    assert refusal(status, b"<html>").reason is reason


def test_an_error_event_is_a_failed_attempt() -> None:
    with pytest.raises(EngineError, match="EngineCore encountered an issue"):
        parse_chunk(b'{"error": {"message": "EngineCore encountered an issue.", "code": 500}}')


def test_usage_is_read_from_metrics() -> None:
    usage = parse_usage(
        "# HELP vllm:kv_cache_usage_perc KV-cache usage.\n"
        'vllm:num_requests_running{engine="0",model_name="smol"} 3.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="smol"} 1.0\n'
        'vllm:kv_cache_usage_perc{engine="0",model_name="smol"} 0.25\n'
    )
    assert (usage.kv_used_fraction, usage.running_requests, usage.waiting_requests) == (0.25, 3, 1)


def event(text: str = "", finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def answer_with(tmp_path):
    """A server on a unix socket that answers every completion with the given bytes, and a client of it."""
    runners, clients = [], []

    async def start(*parts: bytes) -> VllmClient:
        async def complete(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for part in parts:
                await response.write(part)
            return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app)
        await runner.setup()
        socket = tmp_path / "engine.sock"
        await web.UnixSite(runner, str(socket)).start()
        runners.append(runner)
        clients.append(VllmClient(socket, "m"))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_whole_stream_is_a_result(answer_with) -> None:
    client = await answer_with(event(), event("Grüß"), event(" Gott", "stop"), USAGE, DONE)
    events = await collect(client, make_request("r"))
    assert events[:3] == [Accepted(), TextChunk("Grüß", 1), TextChunk(" Gott", 1)]
    end = events[3]
    assert isinstance(end, Finished)
    assert (end.finish_reason, end.prompt_tokens, end.completion_tokens) == (FinishReason.STOP, 9, 2)


async def test_an_event_cut_in_two_packets_is_read_whole(answer_with) -> None:
    whole = event("split", "stop")
    events = await collect(await answer_with(whole[:20], whole[20:], USAGE, DONE), make_request("r"))
    assert TextChunk("split", 1) in events


@pytest.mark.parametrize(
    "parts",
    [
        (event("half"), event("", "abort"), USAGE, DONE),
        (event("half"), USAGE, DONE),
        (event("half", "stop"), USAGE),
        (event("half"), b'data: {"error": {"message": "dead", "code": 500}}\n\n', DONE),
        (event("half"), b"data: {not json\n\n", DONE),
    ],
    ids=["abort", "no finish_reason", "no [DONE]", "error event", "no JSON"],
)
async def test_a_stream_that_ends_badly_is_an_aborted_attempt(answer_with, parts: tuple[bytes, ...]) -> None:
    with pytest.raises(EngineError) as error:
        await collect(await answer_with(*parts), make_request("r"))
    assert (error.value.reason, error.value.retryable) == (Reason.ENGINE_ABORTED, True)


async def test_a_socket_nobody_listens_on_is_an_aborted_attempt_and_unhealthy(tmp_path) -> None:
    client = VllmClient(tmp_path / "nobody.sock", "m")
    try:
        assert await client.health(timeout_s=5.0) is None
        with pytest.raises(EngineError) as error:
            await collect(client, make_request("r"))
        assert error.value.retryable
    finally:
        await client.close()
