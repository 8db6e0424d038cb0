"""Sweeps: resumed, refused where the file is another's, and the command that runs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from simulated_world import SCENARIO, experiment, without_wall_clock
from typer.testing import CliRunner

from maestro.errors import InvalidInputError
from maestro_services.cli.main import app
from maestro_services.simulation.contention import rate_at
from maestro_services.simulation.sweep import sweep

FIELDS = {
    "workflows", "attainment", "stages", "stages_per_s", "kv_reserved_gib_s", "kv_used_gib_s", "overflow_rate", "swaps",
    "cold_starts", "warm_starts", "load_s", "plan_sources", "fallbacks", "solver_cpu_s", "throughput_tokens_per_s",
    "latency_s",
}  # fmt: skip


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    out, small = tmp_path / "results.json", experiment(duration_s=100.0)
    first = sweep(small, "edf", [1], out=out)
    told: list[int] = []
    both = sweep(small, "edf", [1, 2], out=out, progress=lambda seed, share: told.append(seed))
    assert both["seeds"][0] == first["seeds"][0]
    assert set(told) == {2}
    assert [result["seed"] for result in json.loads(out.read_text())["seeds"]] == [1, 2]


def test_another_experiments_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    sweep(experiment(duration_s=50.0), "edf", [1], out=out)
    with pytest.raises(InvalidInputError, match="another experiment"):
        sweep(experiment(duration_s=60.0), "edf", [1], out=out)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    out.write_text("{")
    with pytest.raises(InvalidInputError, match="holds no results"):
        sweep(experiment(duration_s=50.0), "edf", [1], out=out)


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be written"):
        sweep(experiment(duration_s=20.0), "edf", [1], out=tmp_path / "nowhere" / "results.json")


def test_processes_give_the_same_results(tmp_path: Path) -> None:
    small = experiment(duration_s=60.0)
    alone, shared = sweep(small, "edf", [1, 2]), sweep(small, "edf", [1, 2], jobs=2)
    assert [without_wall_clock(r) for r in alone["seeds"]] == [without_wall_clock(r) for r in shared["seeds"]]


def test_a_ray_cluster_gives_the_same_results(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra that is not installed here")
    small, out = experiment(duration_s=60.0), tmp_path / "results.json"
    shared = sweep(small, "edf", [1, 2], out=out, jobs=2, ray="local")
    alone = sweep(small, "edf", [1, 2])
    assert [without_wall_clock(r) for r in alone["seeds"]] == [without_wall_clock(r) for r in shared["seeds"]]
    assert sweep(small, "edf", [1, 2], out=out, ray="nowhere:1") == shared  # nothing is left to be run


def test_without_ray_its_option_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInputError, match=r"maestro-llm\[ray\]"):
        sweep(experiment(duration_s=50.0), "edf", [1], ray="local")


def test_results_that_a_full_disk_does_not_take_are_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "results.json"
    sweep(experiment(duration_s=50.0), "edf", [1], out=out)
    kept = out.read_text()
    (tmp_path / f".results.json.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(InvalidInputError, match="No space left on device"):
        sweep(experiment(duration_s=50.0), "edf", [1, 2], out=out)
    assert out.read_text() == kept


def test_the_command_prints_the_fields_it_promises() -> None:
    arguments = ["simulate", str(SCENARIO), "--policy", "edf", "--rate", "0.2", "--duration", "100", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (seed,) = json.loads(result.stdout)["seeds"]
    assert seed.keys() >= FIELDS
    assert set(seed["attainment"]) == {"overall", "weighted", "by_class"}


def test_the_command_replays_a_trace(tmp_path: Path) -> None:
    line = {"workflow_id": "a", "app": "x", "role": "r", "prompt_tokens": 100, "completion_tokens": 20}
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "\n".join(json.dumps({**line, "step": step, "parents": [step - 1] if step else []}) for step in range(3))
    )
    arguments = ["simulate", str(SCENARIO), "--policy", "fcfs", "--trace", str(trace), "--rate", "0.1", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--duration", "300", "--models-map", "x/r=qwen2.5-14b"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seeds"][0]["stages"] % 3 == 0


def test_the_command_replays_recorded_arrivals_once_a_workflow(tmp_path: Path) -> None:
    line = {"app": "x", "role": "r", "prompt_tokens": 100, "completion_tokens": 20}
    recorded = tmp_path / "recorded.jsonl"
    calls = [(workflow, step, 10.0 * workflow) for workflow in range(30) for step in range(2)]
    recorded.write_text(
        "\n".join(json.dumps({**line, "workflow_id": str(w), "step": step, "arrival": at}) for w, step, at in calls)
    )
    arguments = ["simulate", str(SCENARIO), "--policy", "fcfs", "--trace", str(recorded), "--arrivals", str(recorded)]
    result = CliRunner().invoke(app, [*arguments, "--duration", "600", "--json"])
    assert result.exit_code == 0, result.output
    (seed,) = json.loads(result.stdout)["seeds"]
    assert seed["workflows"] == 30 - 6  # those of the first 60 s are warm-up


def test_a_trace_without_arrivals_cannot_give_them(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text(
        json.dumps({"workflow_id": "a", "app": "x", "step": 0, "prompt_tokens": 1, "completion_tokens": 1})
    )
    result = CliRunner().invoke(app, ["simulate", str(SCENARIO), "--policy", "edf", "--arrivals", str(recorded)])
    assert result.exit_code == 2
    assert "holds no arrival times" in result.stderr


def test_an_unknown_policy_is_answered_with_the_list() -> None:
    result = CliRunner().invoke(app, ["simulate", str(SCENARIO), "--policy", "best", "--rate", "1"])
    assert result.exit_code == 2


def test_an_unknown_policy_is_refused_before_the_rate_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maestro_services.simulation.contention.rate_at", lambda *_: pytest.fail("looked for the rate"))
    result = CliRunner().invoke(app, ["simulate", str(SCENARIO), "--policy", "best"])
    assert result.exit_code == 2
    assert "use one of planner, " in result.stderr


def test_the_rate_of_a_contention_is_found_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = experiment(duration_s=150.0)
    tried: list[float] = []
    rate = rate_at(small, 0.5, tmp_path, lambda found, attained: tried.append(found))
    assert 0.01 < rate < 10.0
    assert rate_at(small, 0.5, tmp_path, lambda found, attained: tried.append(-1.0)) == rate
    assert -1.0 not in tried


def test_a_load_that_no_rate_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maestro_services.simulation.contention.LEAST_RATE_PER_S", 0.05)
    with pytest.raises(InvalidInputError, match=r"EDF should attain 110%, but EDF attains only \d+% at 0.05 .*--rate"):
        rate_at(experiment(duration_s=60.0), 1.1, tmp_path)
    monkeypatch.setattr("maestro_services.simulation.contention.LARGEST_RATE_PER_S", 0.1)
    with pytest.raises(InvalidInputError, match=r"EDF should attain 0%, but EDF attains as much at 0.2"):
        rate_at(experiment(duration_s=60.0), 0.0, tmp_path)
    assert not list(tmp_path.iterdir())
