"""Simulated engines: how requests share a replica, an accelerator and its memory."""

from __future__ import annotations

import pytest

from maestro.fleet import AcceleratorSpec, ModelSpec, SpeedCoefficients
from maestro.performance import decode_s, prefill_s, stage_s
from maestro_services.simulation.engines.accelerators import SimulatedAccelerators
from maestro_services.simulation.engines.link import SharedLink
from maestro_services.simulation.engines.request import Request

SPEED = SpeedCoefficients(1000.0, 10.0, 0.1, 0.5, 1.0)
GIB = 1 << 30


def model(name: str = "writer", kv_bytes_per_token: int = 1 << 20) -> ModelSpec:
    return ModelSpec(name, GIB, kv_bytes_per_token, GIB, 0, 4096, 8, {"sim": SPEED})


def accelerator(*models: ModelSpec, pool_bytes: int = GIB) -> SimulatedAccelerators:
    found = SimulatedAccelerators(AcceleratorSpec("gpu", "sim", 8 * GIB, 16))
    for each in models or (model(),):
        found.start(each, pool_bytes)
    return found


def request(name: str, prompt: int = 100, output: int = 50) -> Request:
    return Request(name, prompt, output, 1.0, 1.0)


def run(gpu: SimulatedAccelerators) -> dict[str, float]:
    """When each request ends."""
    ends: dict[str, float] = {}
    for _ in range(10_000):
        at_s = gpu.next_change_at_s()
        if at_s is None:
            return ends
        ends |= {found.id: at_s for found in gpu.advance(at_s)}
    raise AssertionError("time stands still")


def test_a_request_alone_takes_what_the_performance_model_says() -> None:
    gpu = accelerator()
    gpu.add("writer", request("a"), 0.0)
    assert run(gpu) == {"a": pytest.approx(stage_s(SPEED, 100, 50))}


def test_prompts_are_read_one_after_the_other_and_outputs_written_together() -> None:
    gpu = accelerator(pool_bytes=4 * GIB)
    for name in ("a", "b"):
        gpu.add("writer", request(name, prompt=1000, output=40), 0.0)
    ends = run(gpu)
    alone_s = prefill_s(SPEED, 1000)
    done_alone = alone_s * 10.0  # a's tokens while b's prompt is read
    shared_s = decode_s(SPEED, 40 - done_alone, batch=2)
    assert ends["a"] == pytest.approx(2 * alone_s + shared_s)
    assert ends["b"] == pytest.approx(ends["a"] + decode_s(SPEED, done_alone))


def test_models_at_work_on_one_accelerator_slow_each_other() -> None:
    gpu = accelerator(model(), model("critic"))
    gpu.add("writer", request("a"), 0.0)
    gpu.add("critic", request("b"), 0.0)
    assert run(gpu)["a"] == pytest.approx(1.5 * stage_s(SPEED, 100, 50))


def test_a_full_pool_preempts_the_last_request_and_both_end() -> None:
    pool_bytes = 260 << 20  # of 150 + 150 tokens at a MiB each
    gpu = accelerator(pool_bytes=pool_bytes)
    gpu.add("writer", request("a"), 0.0)
    gpu.add("writer", request("b"), 0.0)
    ends = run(gpu)
    assert gpu.all_preemptions() >= 1
    assert set(ends) == {"a", "b"}
    assert ends["a"] < ends["b"]


def test_a_pool_that_fits_both_preempts_nobody() -> None:
    gpu = accelerator(pool_bytes=310 << 20)
    gpu.add("writer", request("a"), 0.0)
    gpu.add("writer", request("b"), 0.0)
    run(gpu)
    assert gpu.all_preemptions() == 0


def test_a_dropped_request_tells_how_far_it_came_and_the_other_goes_on() -> None:
    gpu = accelerator()
    gpu.add("writer", request("a", prompt=10, output=100), 0.0)
    gpu.advance(0.01)  # the prompt has been read
    assert gpu.remove("a", 1.01 + 1e-6) == 10
    assert gpu.next_change_at_s() is None


def test_memory_in_use_is_integrated_over_time() -> None:
    gpu = accelerator()
    gpu.add("writer", request("a", prompt=100, output=50), 0.0)
    ends = run(gpu)
    decoding_s = ends["a"] - 0.1
    expected_mib_s = 100 * ends["a"] + 50 * decoding_s / 2
    assert gpu.used_gib_s() == pytest.approx(expected_mib_s / 1024, rel=1e-6)


def test_transfers_share_a_link() -> None:
    link = SharedLink(1e6)
    link.begin("a", 1e6, 0.0)
    link.begin("b", 2e6, 0.0)
    first_s = link.next_end_at_s()
    assert first_s == pytest.approx(2.0)
    assert link.advance(2.0) == ["a"]
    assert link.next_end_at_s() == pytest.approx(3.0)


def test_a_cancelled_transfer_leaves_the_link_to_others() -> None:
    link = SharedLink(1e6)
    link.begin("a", 1e6, 0.0)
    link.begin("b", 2e6, 0.0)
    link.cancel("a", 1.0)
    assert link.next_end_at_s() == pytest.approx(2.5)
