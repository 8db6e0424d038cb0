"""Claims about the simulator's validation: what is fitted, what is compared, and the three commands together."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
from made_up_run import LOAD_S, SCENARIOS, TOGETHER, TRUE, made_up_run
from typer.testing import CliRunner

from benchmarks.simulator.__main__ import app
from benchmarks.simulator.measured import LATENCIES, Measured, averaged, compared
from benchmarks.simulator.run_folder import RunFolder
from benchmarks.simulator.workload import workload
from maestro.scenario import load
from maestro.trace import read_trace
from maestro.validation import WorkflowLimits, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made_up_run(tmp_path_factory.mktemp("runs") / "one")


def command(*arguments: str | Path) -> dict[str, dict[str, dict[str, float]]]:
    """What a command prints as JSON."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout)
    return found


def test_calibration_finds_the_speeds_that_made_the_calls(run: RunFolder) -> None:
    """Tests every coefficient that the run shows; what it does not show keeps the scenario's value."""
    command("calibrate", run.path)
    fitted = load(run.calibrated_file).model_specs["smollm2-writer"].speeds["cpu-core"]
    assert fitted.prefill_tokens_per_s == pytest.approx(TRUE.prefill_tokens_per_s, rel=0.05)
    assert fitted.decode_tokens_per_s == pytest.approx(TRUE.decode_tokens_per_s, rel=0.05)
    assert fitted.batch_slope == pytest.approx(TRUE.batch_slope, abs=0.05)
    assert fitted.prefill_stall == pytest.approx(TRUE.prefill_stall, abs=0.1)
    assert fitted.prefill_overhead_s == pytest.approx(TRUE.prefill_overhead_s, abs=0.02)
    assert fitted.colocation_slope == 1.0
    assert fitted.start_s == pytest.approx(LOAD_S, abs=1.0)
    assert run.read_json("calibration.json", "calibrate")["not_observed"] == ["colocation_slope"]


def test_the_cost_of_models_side_by_side_is_found_where_they_were(tmp_path: Path) -> None:
    """Tests both models on one accelerator."""
    run = made_up_run(tmp_path / "run", places=TOGETHER)
    command("calibrate", run.path)
    fitted = load(run.calibrated_file).model_specs["smollm2-writer"].speeds["cpu-core"]
    assert fitted.colocation_slope == pytest.approx(TRUE.colocation_slope, abs=0.05)
    assert run.read_json("calibration.json", "calibrate")["not_observed"] == []


def test_a_calibrated_simulation_of_engines_like_its_own_is_right(run: RunFolder) -> None:
    """Tests the part that nothing was fitted to, and a second run that is the first one."""
    command("calibrate", run.path)
    found = command("replay", run.path, "--against", run.path, "--seeds", "1")
    for metric in LATENCIES:
        assert found["second_run"][metric]["each_p99"] == 0.0
        assert found["simulated"][metric]["mean_error"] < 0.05
    assert found["simulated"]["workflow latency"]["items"] == 60
    assert found["simulated"]["throughput"]["mean_error"] < 0.05


@pytest.mark.parametrize("name", ["two_engines_1", "two_engines_2"])
def test_the_runs_on_real_engines_are_met_as_well_as_is_claimed(tmp_path: Path, name: str) -> None:
    """Tests the goal of the simulator's accuracy on what real engines took."""
    run = shutil.copytree(SCENARIOS / "runs" / name, tmp_path / name)
    command("calibrate", run)
    found = command("replay", run, "--seeds", "3")["simulated"]["workflow latency"]
    assert found["items"] == 60
    assert found["mean_error"] <= 0.10
    assert found["p99_error"] <= 0.20


def test_errors_are_shares_of_the_real_run() -> None:
    """Tests mean, 99th percentile, single items, and that only what both runs have is compared."""
    real, other = Measured(tokens_per_s=10.0), Measured(tokens_per_s=8.0)
    for metric in LATENCIES:
        real.seconds[metric] = {(0,): 10.0, (1,): 20.0, (2,): 1.0}
        other.seconds[metric] = {(0,): 11.0, (1,): 16.0}
    found = averaged([compared(real, other), compared(real, other)])
    figures = found["stage latency"]
    assert figures["mean_error"] == pytest.approx(0.1)
    assert figures["each_mean"] == pytest.approx(0.15)
    assert figures["p99_error"] == pytest.approx(1 - 15.95 / 19.9)
    assert found["throughput"]["mean_error"] == pytest.approx(0.2)


def test_a_workload_is_its_seeds_and_its_lengths_are_forced() -> None:
    """Tests that two runs of one workload have the same texts, and that every workflow is one that Maestro accepts."""
    one, again = (list(workload(("a", "b"), 9, 1.0, seed=3)) for _ in range(2))
    assert one == again
    assert one != list(workload(("a", "b"), 9, 1.0, seed=4))
    for timed in one:
        validate(timed.spec, limits=WorkflowLimits(), models={"a", "b"}, slo_classes={""})
        for stage in timed.spec.stages:
            assert stage.sampling.min_tokens == stage.max_tokens
            assert stage.sampling.ignore_eos


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("calibrate", "{folder}/none"), "observe"),
        (("replay", "{run}"), "calibrate"),
        (("observe", "{run}"), "already"),
    ],
)
def test_a_command_out_of_turn_says_what_comes_first(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Tests a run that is not there, one that is not calibrated, and one that would be overwritten."""
    run = made_up_run(tmp_path / "run", workflows=4)
    done = CliRunner().invoke(app, [part.format(folder=tmp_path, run=run.path) for part in arguments])
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_three_commands_work_on_a_running_maestro(tmp_path: Path) -> None:
    """Tests them on simulated engines, which are as fast as the scenario says."""
    text = (SCENARIOS / "two_engines.yaml").read_text().replace("../../", f"{tmp_path}/")
    for pattern, replacement in {
        r"kind: vllm": "kind: simulated",
        r"start: 45 s": "start: 0.2 s",
        r"decode_tokens_per_s: 25": "decode_tokens_per_s: 400",
        r"prefill_tokens_per_s: 500": "prefill_tokens_per_s: 8000",
    }.items():
        assert pattern in text
        text = text.replace(pattern, replacement)
    (tmp_path / "scenario.yaml").write_text(re.sub(r"127\.0\.0\.1:\d+", lambda _: _free_address(), text))
    run = tmp_path / "run"
    command("observe", run, "--scenario", tmp_path / "scenario.yaml", "--workflows", "8", "--rate", "4")
    assert len({call.workflow_id for call in read_trace(run / "trace.jsonl.gz")}) == 8 + 6
    command("calibrate", run)
    found = command("replay", run, "--seeds", "1")
    assert found["simulated"]["workflow latency"]["items"] == 4


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
