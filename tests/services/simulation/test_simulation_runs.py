"""Whole simulations: deterministic, complete, and in agreement with what can be worked out by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated_world import QUIET, experiment, without_wall_clock

from maestro.performance import stage_s
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import POLICIES, policy_named
from maestro_services.simulation.workload.template import Template, TemplateStage
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES

HERE = Path(__file__).parent
SINGLE = (Template("essays", (TemplateStage("s0", "writer", "", (), 1000, 300),)),)


def test_equal_seeds_give_equal_results_and_others_do_not() -> None:
    first, second = (without_wall_clock(run(experiment(), policy_named("edf"), 1)) for _ in range(2))
    assert first == second
    assert without_wall_clock(run(experiment(), policy_named("edf"), 2)) != first


def test_the_planner_is_deterministic_too() -> None:
    small = experiment(rate_per_s=0.1, duration_s=40.0)
    first, second = (without_wall_clock(run(small, policy_named("planner"), 1)) for _ in range(2))
    assert first == second
    assert first["plan_sources"]


def test_results_do_not_depend_on_the_order_of_hashes() -> None:
    script = (
        "import json, simulated_world as w\n"
        "from maestro_services.simulation.experiment import run\n"
        "from maestro_services.simulation.policies import policy_named\n"
        "print(json.dumps(w.without_wall_clock(run(w.experiment(duration_s=99), policy_named('hierarchical'), 1))))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=HERE,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["workflows"] > 0


def test_a_workflow_alone_takes_its_stages_time_and_the_load_before_it() -> None:
    alone = experiment(SINGLE, rate_per_s=0.01, duration_s=5000.0, workflows=5, engine_model=QUIET)
    result = run(alone, policy_named("fcfs"), 1)
    speed = alone.scenario.model_specs[alone.models_map["essays", "writer"]].speeds["a100-80gb"]
    latencies = result["latency_s"]
    assert isinstance(latencies, dict)
    fastest = min(quantiles["p50"] for quantiles in latencies.values())
    assert fastest == pytest.approx(stage_s(speed, 1000, 300), abs=0.01)
    assert result["cold_starts"] == 1


@pytest.mark.parametrize("name", sorted(DISPATCH_POLICIES))
def test_every_policy_serves_a_light_load_and_breaks_no_rule(name: str) -> None:
    result = run(experiment(rate_per_s=0.05, duration_s=900.0), policy_named(name), 1)
    attainment = result["attainment"]
    assert isinstance(attainment, dict)
    assert attainment["overall"] > 0.9
    assert (result["refusals"], result["failures"]) == (0, 0)


@pytest.mark.parametrize("name", sorted(DISPATCH_POLICIES))
def test_every_policy_goes_on_under_overload(name: str) -> None:
    result = run(experiment(rate_per_s=1.5, duration_s=200.0), policy_named(name), 1)
    assert int(str(result["stages"])) > 300
    assert (result["refusals"], result["failures"]) == (0, 0)


def test_an_oracle_reserves_what_calls_take() -> None:
    result = run(experiment(), policy_named("edf-true-lengths"), 1)
    assert result["overflow_rate"] == 0.0
    assert float(str(result["kv_reserved_gib_s"])) < float(
        str(run(experiment(), policy_named("edf"), 1)["kv_reserved_gib_s"])
    )


def test_reserved_memory_is_at_least_what_is_used_where_nothing_overflows() -> None:
    result = run(experiment(), policy_named("edf-true-lengths"), 1)
    assert float(str(result["kv_reserved_gib_s"])) >= float(str(result["kv_used_gib_s"]))


def test_all_names_are_their_own() -> None:
    assert all(name == policy.name for name, policy in POLICIES.items())
