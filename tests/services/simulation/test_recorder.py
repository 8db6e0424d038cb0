"""The record of a run: what stands in it agrees with the run's result, and recording changes nothing."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulated_world import SCENARIO, experiment, without_wall_clock
from typer.testing import CliRunner

from maestro.errors import InvalidInputError
from maestro_services.cli.main import app
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.recorder import Recorder, recording


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A result, and the lines that were recorded on the way to it."""
    sink = io.StringIO()
    result = run(experiment(), policy_named("edf"), 1, recorder=Recorder(sink))
    return result, [json.loads(line) for line in sink.getvalue().splitlines()]


def test_recording_changes_nothing(recorded: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    result, _ = recorded
    assert without_wall_clock(run(experiment(), policy_named("edf"), 1)) == without_wall_clock(result)


def test_every_stage_that_ended_has_one_attempt_in_order(recorded: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    result, lines = recorded
    attempts = [line for line in lines if line["event"] == "attempt"]
    assert sum(line["state"] == "succeeded" for line in attempts) == result["stages"]
    assert max(Counter((line["workflow"], line["stage"]) for line in attempts).values()) == 1
    assert all(line["ready_s"] <= line["start_s"] <= line["end_s"] for line in attempts)


def test_memory_that_is_reserved_and_used_fits_its_accelerator(
    recorded: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    _, lines = recorded
    sizes = {line["name"]: line["memory_bytes"] for line in lines if line["event"] == "accelerator"}
    memory = [line for line in lines if line["event"] == "memory"]
    assert len(sizes) == 4
    for line in memory:
        taken = sum(
            found["fixed_bytes"] + (found["pool_bytes"] or found["reserved_bytes"]) for found in line["replicas"]
        )
        assert taken <= sizes[line["accelerator"]]
        assert all(found["reserved_bytes"] <= found["pool_bytes"] for found in line["replicas"])
    assert any(found["used_bytes"] > 0 for line in memory for found in line["replicas"])


def test_workflows_stand_with_their_deadlines(recorded: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    _, lines = recorded
    ended = [line for line in lines if line["event"] == "workflow"]
    assert {line["state"] for line in ended} == {"succeeded"}
    assert all(line["arrival_s"] < min(line["deadline_s"], line["end_s"]) for line in ended)


def test_the_command_records_one_seed_and_refuses_more(tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    arguments = ["simulate", str(SCENARIO), "--policy", "edf", "--rate", "0.2", "--duration", "50"]
    result = CliRunner().invoke(app, [*arguments, "--record", str(file)])
    assert result.exit_code == 0, result.output
    assert json.loads(file.read_text().splitlines()[0]) == {"event": "run", "seed": 1, "policy": "edf"}
    assert CliRunner().invoke(app, [*arguments, "--record", str(file), "--seeds", "2"]).exit_code == 2


def test_a_full_disk_is_said_so() -> None:
    with (
        pytest.raises(InvalidInputError, match="No space left on device"),
        recording(Path("/dev/full")) as recorder,
    ):
        run(experiment(duration_s=50.0), policy_named("edf"), 1, recorder=recorder)
