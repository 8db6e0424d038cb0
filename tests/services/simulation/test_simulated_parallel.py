"""Simulations with a model that takes four GPUs at once, beside others on the same GPUs."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated_world import experiment, without_wall_clock

from maestro.fleet import AcceleratorSpec, ModelSpec, NodeSpec, SpeedCoefficients
from maestro.performance import stage_s
from maestro.scenario import load
from maestro_services.simulation.engines.accelerators import SimulatedAccelerators, engine_name, simulated
from maestro_services.simulation.engines.request import Request
from maestro_services.simulation.experiment import Experiment, run
from maestro_services.simulation.faults import Fault, FaultModel
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.world import Window

LARGE = "llama-3.3-70b"
GIB = 1 << 30
SPEED = SpeedCoefficients(1000.0, 10.0, 0.1, 0.5, 1.0)


def parallel(tmp_path: Path, *, elastic: bool = False, **changes: object) -> Experiment:
    """Eight GPUs, of which the largest of three models takes four at once; ``elastic``: KV returns to the device."""
    text = (Path(__file__).parents[3] / "scenarios" / "one_node_8x80gb.yaml").read_text()
    file = tmp_path / "scenario.yaml"
    file.write_text(text.replace("kv_elastic: false", f"kv_elastic: {str(elastic).lower()}"))
    scenario, made = load(file), experiment(rate_per_s=0.4, duration_s=240.0)
    models_map = spread(made.templates, scenario.model_specs)
    assert LARGE in models_map.values()
    return replace(made, scenario=scenario, models_map=models_map, **changes)  # type: ignore[arg-type]


def recorded(made: Experiment, policy: str, seed: int = 1) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A result, and the lines that were recorded on the way to it."""
    sink = io.StringIO()
    result = run(made, policy_named(policy), seed, recorder=Recorder(sink))
    return result, [json.loads(line) for line in sink.getvalue().splitlines()]


def taken_bytes(line: dict[str, Any]) -> int:
    """What an accelerator's replicas take, by a line of the record."""
    shares = (r["fixed_bytes"] + (r["pool_bytes"] or r["reserved_bytes"]) for r in line["replicas"])
    return int(sum(shares))


@pytest.mark.parametrize("policy", ["edf", "kairos", "lru-swap", "hierarchical", "planner"])
@pytest.mark.parametrize("elastic", [False, True], ids=["pools", "elastic"])
def test_a_large_model_takes_its_share_of_four_gpus_and_no_gpu_is_over_its_memory(
    tmp_path: Path, policy: str, *, elastic: bool
) -> None:
    result, lines = recorded(parallel(tmp_path, elastic=elastic), policy)
    sizes = {line["name"]: line["memory_bytes"] for line in lines if line["event"] == "accelerator"}
    memory = [line for line in lines if line["event"] == "memory"]
    assert all(taken_bytes(line) <= sizes[line["accelerator"]] for line in memory)
    assert result["refusals"] == 0
    shares: dict[float, dict[str, int]] = defaultdict(dict)
    for line in memory:
        for replica in line["replicas"]:
            if replica["model"] == LARGE:
                shares[line["at_s"]][line["accelerator"]] = replica["fixed_bytes"]
    groups = [{f"gpu-{index}" for index in span} for span in (range(4), range(4, 8))]
    assert shares
    for held in shares.values():
        assert set(held) in [*groups, groups[0] | groups[1]]
        assert len(set(held.values())) == 1
    served = [line for line in lines if line["event"] == "attempt" and line["model"] == LARGE]
    assert {line["accelerator"] for line in served} <= {"gpu-0", "gpu-4"}
    assert sum(line["state"] == "succeeded" for line in served) > 20


def test_plans_that_place_stages_run_the_large_model_too(tmp_path: Path) -> None:
    result, lines = recorded(parallel(tmp_path, rate_per_s=0.15, window=Window(70.0)), "planner-places-stages")
    sizes = {line["name"]: line["memory_bytes"] for line in lines if line["event"] == "accelerator"}
    assert all(taken_bytes(line) <= sizes[line["accelerator"]] for line in lines if line["event"] == "memory")
    assert result["refusals"] == 0
    assert result["plan_sources"].get("cp_sat", 0) > 0
    states = {line["state"] for line in lines if line["event"] == "attempt" and line["model"] == LARGE}
    assert states == {"succeeded"}


def test_equal_seeds_give_equal_results(tmp_path: Path) -> None:
    made = parallel(tmp_path)
    first, again = (run(made, policy_named("edf"), 2) for _ in range(2))
    assert without_wall_clock(first) == without_wall_clock(again)


def test_an_engine_that_breaks_on_any_of_its_gpus_and_a_node_that_crashes_are_survived(tmp_path: Path) -> None:
    """Tests faults of every GPU that does not name a replica while the large model serves, then a crash."""
    peers = [Fault(230.0, "gpu-box", f"gpu-{index}", share) for index in (1, 2, 3, 5, 6, 7) for share in (0.0, 0.99)]
    crash = Fault(400.0, "gpu-box", repair_s=10.0)
    made = parallel(tmp_path, faults=FaultModel(scheduled=(*peers, crash)), window=Window(600.0))
    result, lines = recorded(made, "edf")
    assert result["engine_faults"] > 0
    assert result["node_faults"] == 1
    assert result["refusals"] == 0
    ended = {(line["state"], line["end_s"]) for line in lines if line["event"] == "attempt" and line["model"] == LARGE}
    assert ("voided", 230.0) in ended
    assert any(state == "succeeded" and at_s > 400.0 for state, at_s in ended)


def model(name: str, size: int) -> ModelSpec:
    return ModelSpec(name, GIB, 1 << 20, GIB, 0, 4096, 8, {"sim": SPEED}, tensor_parallel_size=size)


def node(count: int) -> NodeSpec:
    return NodeSpec("box", tuple(AcceleratorSpec(f"gpu-{i}", "sim", 8 * GIB, 16) for i in range(count)), 0, 1e9, 1e9)


def run_out(engines: SimulatedAccelerators) -> dict[str, float]:
    """When each request ends."""
    ends: dict[str, float] = {}
    while (at_s := engines.next_change_at_s()) is not None:
        ends |= {found.id: at_s for found in engines.advance(at_s)}
    return ends


def test_only_accelerators_that_share_a_model_are_simulated_together() -> None:
    found = simulated(node(5), {"whole": model("whole", 2), "part": model("part", 1)})
    assert found["gpu-0"] is found["gpu-1"]
    assert len({found[name].name for name in found}) == 3
    alone = simulated(node(3), {"part": model("part", 1)})
    assert [engines.specs for engines in alone.values()] == [(spec,) for spec in node(3).accelerators]


def test_a_replica_on_several_accelerators_is_as_slow_as_the_busiest_of_them() -> None:
    """Tests a model on two GPUs, a second one at work on one of them, and a third one that shares nothing with it."""
    whole, part = model("whole", 2), model("part", 1)
    engines = SimulatedAccelerators(*node(4).accelerators)
    engines.start(whole, GIB, "whole", ("gpu-0", "gpu-1"))
    for index in (1, 2):
        engines.start(part, GIB, engine_name(f"gpu-{index}", "part"), (f"gpu-{index}",))
    engines.add("whole", Request("a", 100, 50, 1.0, 1.0), 0.0)
    engines.add("part@gpu-1", Request("b", 100, 500, 1.0, 1.0), 0.0)
    engines.add("part@gpu-2", Request("c", 100, 50, 1.0, 1.0), 0.0)
    ends = run_out(engines)
    assert ends["a"] == pytest.approx(1.5 * stage_s(SPEED, 100, 50))
    assert ends["c"] == pytest.approx(stage_s(SPEED, 100, 50))


def test_elastic_memory_is_full_when_one_accelerator_of_a_replica_is() -> None:
    """Tests that the requests of a replica on two GPUs are preempted for what fills one of them."""
    specs = [replace(spec, kv_elastic=True, memory_bytes=2 * GIB) for spec in node(2).accelerators]
    engines = SimulatedAccelerators(*specs)
    engines.start(model("whole", 2), 0, "whole", ("gpu-0", "gpu-1"))
    engines.start(model("part", 1), 0, "part", ("gpu-1",))
    for name in ("a", "b"):
        engines.add("whole", Request(name, 400, 200, 1.0, 1.0), 0.0)  # 600 MiB each on each GPU, of 1,536 and 512
    ends = run_out(engines)
    assert set(ends) == {"a", "b"}
    assert engines.all_preemptions() >= 1
