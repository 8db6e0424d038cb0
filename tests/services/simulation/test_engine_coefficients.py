"""What a prompt costs besides its tokens, and what it costs those that decode beside it, on simulated engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_simulated_engines import SPEED, accelerator, model, request, run

from maestro.performance import decode_s, prefill_s
from maestro_services.simulation.engines.accelerators import SimulatedAccelerators


def engine(**coefficients: float) -> SimulatedAccelerators:
    """An accelerator with one model of changed speeds."""
    return accelerator(replace(model(), speeds={"sim": replace(SPEED, **coefficients)}), pool_bytes=4 << 30)


def test_a_prompt_takes_its_overhead_whatever_its_length() -> None:
    """Tests a long and a short prompt, on the engine and in the model that the planner sees."""
    for tokens in (10, 2000):
        gpu = engine(prefill_overhead_s=0.5)
        gpu.add("writer", request("a", prompt=tokens, output=1), 0.0)
        assert run(gpu)["a"] == pytest.approx(0.5 + tokens / 1000 + decode_s(SPEED, 1))
        assert prefill_s(replace(SPEED, prefill_overhead_s=0.5), tokens) == pytest.approx(0.5 + tokens / 1000)


@pytest.mark.parametrize("stall", [0.0, 0.4, 1.0])
def test_decoding_is_held_up_by_as_much_as_the_stall_says_while_another_prompt_is_read(stall: float) -> None:
    """Tests none, some and all of it."""
    gpu = engine(prefill_stall=stall, batch_slope=0.0)
    gpu.add("writer", request("a", prompt=1000, output=100), 0.0)
    gpu.add("writer", request("b", prompt=2000, output=10), 1.0)  # read from 1 s to 3 s
    assert run(gpu)["a"] == pytest.approx(1.0 + 10.0 + 2.0 * stall)


def test_the_first_token_comes_when_the_prompt_has_been_read() -> None:
    """Tests a request that waits behind another one's prompt."""
    gpu = engine()
    requests = [request("a", prompt=1000, output=50), request("b", prompt=500, output=50)]
    for each in requests:
        gpu.add("writer", each, 0.0)
    run(gpu)
    assert [each.first_token_at_s for each in requests] == [pytest.approx(1.0), pytest.approx(1.5)]
