"""Tests that the performance model follows its formulas and refuses numbers that make no sense."""

import math

import networkx as nx
import pytest

from maestro.costs import LengthForecast
from maestro.errors import InvalidInputError, UnsupportedError
from maestro.fleet import AcceleratorSpec, ModelSpec, NodeSpec, SpeedCoefficients, WeightTier
from maestro.performance import (
    ReservationQuantile,
    critical_path_s,
    decode_s,
    kv_bytes,
    load_s,
    prefill_s,
    run_options,
    slowdown,
    stage_s,
    tails,
)

SPEED = SpeedCoefficients(
    prefill_tokens_per_s=1000.0, decode_tokens_per_s=50.0, batch_slope=0.1, colocation_slope=0.8, start_s=40.0
)
FAST = SpeedCoefficients(
    prefill_tokens_per_s=10_000.0, decode_tokens_per_s=100.0, batch_slope=0.02, colocation_slope=0.8, start_s=30.0
)
NODE = NodeSpec(
    name="n0",
    accelerators=(AcceleratorSpec("n0-a0", "cpu", 8_000, 4),),
    host_memory_bytes=16_000,
    disk_bytes_per_s=100.0,
    host_to_device_bytes_per_s=500.0,
)


def model(name: str = "small", context_tokens: int = 1000) -> ModelSpec:
    return ModelSpec(
        name=name,
        weights_bytes=1000,
        kv_bytes_per_token=10,
        kv_pool_bytes=5000,
        overhead_bytes=100,
        context_tokens=context_tokens,
        max_batch=8,
        speeds={"cpu": SPEED, "gpu": FAST},
    )


def test_a_stage_takes_its_prefill_and_its_decode() -> None:
    assert prefill_s(SPEED, 500) == 0.5
    assert decode_s(SPEED, 100) == 2.0
    assert stage_s(SPEED, 500, 100) == 2.5


def test_decode_slows_with_the_batch_and_more_with_every_further_active_model() -> None:
    assert slowdown(SPEED) == 1.0
    assert slowdown(SPEED, batch=5) == pytest.approx(1.4)
    assert slowdown(SPEED, active_models=3) == pytest.approx(1.8**2)
    assert decode_s(SPEED, 50, batch=5, active_models=2) == pytest.approx(1.4 * 1.8)
    assert slowdown(SPEED, active_models=2) > slowdown(SPEED, batch=2)


@pytest.mark.parametrize(
    ("tier", "expected_s"),
    [(WeightTier.DEVICE, 0.0), (WeightTier.HOST, 2.0), (WeightTier.DISK, 10.0 + 2.0 + 40.0)],
)
def test_a_load_pays_for_every_link_it_crosses_and_a_cold_one_for_the_engine_start(
    tier: WeightTier, expected_s: float
) -> None:
    assert load_s(model(), NODE, "cpu", tier) == expected_s


def test_weights_that_are_on_no_disk_of_the_node_cannot_be_loaded() -> None:
    with pytest.raises(UnsupportedError, match="put them on one of its disks"):
        load_s(model(), NODE, "cpu", WeightTier.REMOTE)


def test_a_kind_without_coefficients_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"models\.small\.speeds.*'tpu'.*cpu"):
        load_s(model(), NODE, "tpu", WeightTier.DISK)


def test_kv_is_counted_in_whole_tokens() -> None:
    assert kv_bytes(model(), 10) == 100
    assert kv_bytes(model(), 10.2) == 110


@pytest.mark.parametrize("tokens", [-1, math.nan, math.inf])
def test_impossible_token_counts_are_refused(tokens: float) -> None:
    for function in (
        lambda: prefill_s(SPEED, tokens),
        lambda: decode_s(SPEED, tokens),
        lambda: kv_bytes(model(), 0 + tokens),
    ):
        with pytest.raises(InvalidInputError, match="tokens"):
            function()


@pytest.mark.parametrize(("batch", "active_models"), [(0, 1), (1, 0)])
def test_an_empty_batch_and_an_idle_accelerator_decode_nothing(batch: int, active_models: int) -> None:
    with pytest.raises(InvalidInputError):
        decode_s(SPEED, 1, batch, active_models)


class TestRunOptions:
    """Tests that the planner's options carry durations at the median and p90, and a reservation at a quantile."""

    forecast = LengthForecast(100, 200, 300)

    def test_each_model_on_each_kind_that_can_serve_it_in_the_stages_order(self) -> None:
        second = model("other")
        options = run_options(
            (second, model()),
            {"small": self.forecast, "other": self.forecast},
            50,
            400,
            ["gpu", "tpu", "cpu", "gpu"],
            ReservationQuantile.P90,
        )
        assert [(option.model, option.kind) for option in options] == [
            ("other", "gpu"),
            ("other", "cpu"),
            ("small", "gpu"),
            ("small", "cpu"),
        ]

    def test_durations_and_reservation(self) -> None:
        (option,) = run_options((model(),), {"small": self.forecast}, 100, 400, ["cpu"], ReservationQuantile.P95)
        assert option.duration_s == pytest.approx(0.1 + 2.0)
        assert option.duration_p90_s == pytest.approx(0.1 + 4.0)
        assert option.kv_bytes == (100 + 300) * 10

    def test_an_expected_batch_lengthens_decode(self) -> None:
        (option,) = run_options(
            (model(),), {"small": self.forecast}, 0, 400, ["cpu"], ReservationQuantile.P95, expected_batch=11
        )
        assert option.duration_s == pytest.approx(2 * 2.0)

    @pytest.mark.parametrize(
        ("quantile", "output_tokens"),
        [(ReservationQuantile.P50, 100), (ReservationQuantile.P90, 150), (ReservationQuantile.P95, 150)],
    )
    def test_the_output_is_bounded_by_max_tokens(self, quantile: ReservationQuantile, output_tokens: int) -> None:
        (option,) = run_options((model(),), {"small": self.forecast}, 0, 150, ["cpu"], quantile)
        assert option.kv_bytes == output_tokens * 10
        assert option.duration_p90_s == pytest.approx(3.0)

    def test_the_output_is_bounded_by_what_the_prompt_leaves_of_the_context(self) -> None:
        (option,) = run_options(
            (model(context_tokens=150),), {"small": self.forecast}, 100, 400, ["cpu"], ReservationQuantile.P90
        )
        assert option.kv_bytes == 150 * 10
        assert option.duration_s == pytest.approx(0.1 + 1.0)

    @pytest.mark.parametrize("prompt_tokens", [1000, 1_000_000])
    def test_a_prompt_that_fills_the_context_has_no_option(self, prompt_tokens: int) -> None:
        assert not run_options((model(),), {"small": self.forecast}, prompt_tokens, 1, ["cpu"], ReservationQuantile.P90)

    def test_a_model_without_a_forecast_is_named(self) -> None:
        with pytest.raises(InvalidInputError, match=r"forecasts\.small"):
            run_options((model(),), {}, 1, 1, ["cpu"], ReservationQuantile.P90)

    def test_max_tokens_below_one_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="max_tokens"):
            run_options((model(),), {"small": self.forecast}, 1, 0, ["cpu"], ReservationQuantile.P90)


class TestTails:
    """Tests that tails are longest paths from a stage's start to the end of its workflow."""

    def test_diamond(self) -> None:
        graph: nx.DiGraph[str] = nx.DiGraph([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
        seconds = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 3.0}
        assert tails(graph, seconds) == {"a": 9.0, "b": 8.0, "c": 5.0, "d": 3.0}
        assert critical_path_s(graph, seconds) == 9.0

    def test_a_chain_of_ten_thousand_stages_needs_no_recursion(self) -> None:
        graph: nx.DiGraph[str] = nx.DiGraph((f"s{index}", f"s{index + 1}") for index in range(9_999))
        longest = tails(graph, dict.fromkeys(graph, 2.0))
        assert longest["s0"] == 20_000.0
        assert longest["s9999"] == 2.0

    def test_an_empty_graph_ends_at_once(self) -> None:
        graph: nx.DiGraph[str] = nx.DiGraph()
        assert tails(graph, {}) == {}
        assert critical_path_s(graph, {}) == 0.0

    def test_a_cycle_is_refused(self) -> None:
        graph: nx.DiGraph[str] = nx.DiGraph([("a", "b"), ("b", "a")])
        with pytest.raises(InvalidInputError, match="cycle"):
            tails(graph, {"a": 1.0, "b": 1.0})

    @pytest.mark.parametrize("seconds", [{}, {"a": -1.0}, {"a": math.nan}, {"a": math.inf}])
    def test_missing_or_impossible_seconds_name_the_stage(self, seconds: dict[str, float]) -> None:
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_node("a")
        with pytest.raises(InvalidInputError, match=r"stage_seconds\.a"):
            tails(graph, seconds)
