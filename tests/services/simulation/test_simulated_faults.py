"""Faults: drawn from the seed alone, and survived: whatever breaks, every workflow ends exactly once."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from simulated_world import SCENARIO, experiment, without_wall_clock
from typer.testing import CliRunner

from maestro.errors import InvalidInputError
from maestro_services.cli.main import app
from maestro_services.scheduler.settings import settings_of
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.experiment import run
from maestro_services.simulation.faults import Fault, FaultModel, chosen, faults, scheduled
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.workload.arrivals import Process, arrivals
from maestro_services.simulation.workload.source import WorkloadModel, workflows
from maestro_services.simulation.world import Simulation, Window

OFTEN = FaultModel(engine_mtbf_s=150.0, node_mtbf_s=400.0, repair_s=15.0)
FLEET = settings_of(experiment().scenario).core.fleet


def recorded(faulty: FaultModel, policy: str, seed: int = 1) -> list[dict[str, Any]]:
    """The lines of a run that goes on until nothing is left to do."""
    made = experiment(rate_per_s=0.3, duration_s=300.0)
    settings, chosen_policy, sink = settings_of(made.scenario), policy_named(policy), io.StringIO()
    config = replace(settings.core, dispatch=chosen_policy.dispatch, starts=None)
    simulation = Simulation(
        config,
        partial(chosen_policy.predictor, settings.predictor),
        None,
        EngineModel(),
        seed,
        faults=faults(faulty, FLEET, seed),
        recorder=Recorder(sink),
    )
    source = WorkloadModel(made.templates, made.models_map, made.scenario.model_specs, "a100-80gb", EngineModel())
    instants = arrivals(Process.POISSON, 0.3, Random(seed))
    simulation.run(workflows(source, instants, seed), Window(300.0))
    while simulation.core.active_workflows():
        assert simulation.events.step()
    return [json.loads(line) for line in sink.getvalue().splitlines()]


@pytest.mark.parametrize("policy", ["edf", "lru-swap"])
def test_every_workflow_ends_exactly_once_whatever_breaks(policy: str) -> None:
    lines = recorded(OFTEN, policy)
    met = Counter(bool(line["accelerator"]) for line in lines if line["event"] == "fault")
    assert met[True] > 3
    assert met[False] > 0
    ended = Counter(line["workflow"] for line in lines if line["event"] == "workflow")
    assert ended
    assert set(ended.values()) == {1}
    attempts = [line for line in lines if line["event"] == "attempt"]
    finals = Counter((line["workflow"], line["stage"]) for line in attempts if line["state"] != "voided")
    assert set(finals.values()) == {1}
    assert {line["workflow"] for line in attempts} == set(ended)
    assert any(line["state"] == "voided" for line in attempts)


def test_nothing_runs_on_an_accelerator_whose_node_is_away() -> None:
    down = Fault(120.0, FLEET.clusters[0].nodes[0].name, repair_s=40.0)
    lines = recorded(FaultModel(scheduled=(down,)), "edf")
    succeeded = [line for line in lines if line["event"] == "attempt" and line["state"] == "succeeded"]
    assert not [line for line in succeeded if line["start_s"] < 160.0 and line["end_s"] > 120.0]
    assert [line for line in succeeded if line["start_s"] > 160.0]


def test_an_engine_that_dies_while_it_loads_is_loaded_again() -> None:
    early = tuple(Fault(20.0, FLEET.clusters[0].nodes[0].name, f"gpu-{index}") for index in range(4))
    result = run(experiment(faults=FaultModel(scheduled=early)), policy_named("edf"), 1)
    assert result["engine_faults"] >= 1
    assert result["failures"] == 0
    assert result["attainment"]["overall"] > 0.0


def test_faults_are_the_same_for_every_policy_and_seeds_have_their_own() -> None:
    first, second = (list(islice(faults(OFTEN, FLEET, 1), 50)) for _ in range(2))
    assert first == second
    assert first == sorted(first)
    assert list(islice(faults(OFTEN, FLEET, 2), 50)) != first


def test_a_run_with_faults_is_its_seeds() -> None:
    broken = experiment(faults=OFTEN)
    first, second = (without_wall_clock(run(broken, policy_named("wspt"), 1)) for _ in range(2))
    assert first == second
    assert first["engine_faults"]


def test_without_rates_nothing_breaks() -> None:
    assert list(faults(FaultModel(), FLEET, 1)) == []


def test_a_fault_meets_one_of_the_engines_that_are_there() -> None:
    assert [chosen(["b", "a"], share) for share in (0.0, 0.49, 0.5, 1.0)] == ["a", "a", "b", "b"]
    assert chosen([], 0.3) is None


def test_the_command_takes_faults_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    file.write_text('{"at_s": 90, "accelerator": "gpu-0"}\n\n{"at_s": 120, "node": "gpu-box", "repair_s": 20}\n')
    arguments = ["simulate", str(SCENARIO), "--policy", "edf", "--rate", "0.2", "--duration", "200", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--faults", str(file)])
    assert result.exit_code == 0, result.output
    (seed,) = json.loads(result.stdout)["seeds"]
    assert (seed["engine_faults"], seed["node_faults"]) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        '{"at_s": -1, "node": "gpu-box"}',
        '{"at_s": 1, "node": "elsewhere"}',
        '{"at_s": 1, "accelerator": "gpu-9"}',
        '{"node": "gpu-box"}',
        '{"at_s": NaN, "node": "gpu-box"}',
        "[1]",
        "{",
    ],
)
def test_a_file_that_names_no_fault_is_refused_by_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(InvalidInputError, match=r"faults\.jsonl:2"):
        scheduled(file, FLEET)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: No such file or directory"):
        scheduled(tmp_path / "faults.jsonl", FLEET)


def test_times_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="engine_mtbf_s"):
        FaultModel(engine_mtbf_s=0.0)
