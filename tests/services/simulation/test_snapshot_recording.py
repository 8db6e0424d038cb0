"""Snapshots of a run: the planner reads and plans them, and recording changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from simulated_world import SCENARIO, experiment, without_wall_clock
from typer.testing import CliRunner

from maestro.errors import InvalidInputError
from maestro.snapshot import Snapshot
from maestro.snapshot_codec import snapshot_from_dict
from maestro_services.cli.main import app
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.snapshot_recording import SnapshotRecorder

DURATION_S = 100.0
EVERY_S = 20.0
POLICIES = ("edf", "edf-true-lengths", "planner", "portfolio-places-stages")


def recorded(folder: Path) -> list[Snapshot]:
    """The snapshots of a folder in the order of their instants."""
    return [snapshot_from_dict(json.loads(file.read_text())) for file in sorted(folder.iterdir())]


def trace(folder: Path) -> Path:
    """Three workflows of a writer and two readers, made up."""
    calls = [
        {"workflow_id": f"w{workflow}", "app": "made-up", "role": role, "step": step, "parents": parents}
        | {"prompt_tokens": 500 + 100 * step, "completion_tokens": 900 + 50 * workflow}
        for workflow in range(3)
        for step, (role, parents) in enumerate([("writer", []), ("reader", [0]), ("reader", [0])])
    ]
    file = folder / "trace.jsonl"
    file.write_text("\n".join(json.dumps(call) for call in calls))
    return file


@dataclass(frozen=True)
class Recorded:
    """A run's result, and the snapshots that were kept of it."""

    result: dict[str, Any]
    snapshots: list[Snapshot]


@pytest.fixture(scope="module")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recorded]:
    """The run of a policy, made once."""

    @cache
    def of(policy: str) -> Recorded:
        folder = tmp_path_factory.mktemp("runs") / policy
        snapshots = SnapshotRecorder(folder, EVERY_S)
        result = run(experiment(duration_s=DURATION_S), policy_named(policy), 1, snapshots=snapshots)
        return Recorded(result, recorded(folder))

    return of


@pytest.mark.parametrize("policy", POLICIES)
def test_recording_snapshots_changes_nothing(policy: str, recorded_run: Callable[[str], Recorded]) -> None:
    """Tests policies that are asked for no plan, one that is told the truth, and plans of residency and of stages."""
    plain = run(experiment(duration_s=DURATION_S), policy_named(policy), 1)
    assert without_wall_clock(recorded_run(policy).result) == without_wall_clock(plain)


@pytest.mark.parametrize("policy", POLICIES)
def test_snapshots_hold_stages_whatever_the_policy_is_given(
    policy: str, recorded_run: Callable[[str], Recorded]
) -> None:
    """Tests that plans of residency, whose snapshots hold a demand and no stages, are recorded with their stages."""
    found = recorded_run(policy).snapshots
    assert found
    for snapshot in found:
        assert any(stage.options for stage in snapshot.waiting)
        assert not snapshot.demand
        assert snapshot.load_s


def test_a_plan_in_force_is_kept_where_plans_place_stages_and_only_there(
    recorded_run: Callable[[str], Recorded],
) -> None:
    has_starts = {policy: any(s.in_force.starts for s in recorded_run(policy).snapshots) for policy in POLICIES}
    assert has_starts == {policy: policy == "portfolio-places-stages" for policy in POLICIES}


@pytest.mark.parametrize("policy", POLICIES)
def test_snapshots_are_as_far_apart_as_was_asked(policy: str, recorded_run: Callable[[str], Recorded]) -> None:
    instants_s = [snapshot.taken_at_s for snapshot in recorded_run(policy).snapshots]
    assert instants_s[0] >= EVERY_S
    assert all(later - before >= EVERY_S for before, later in pairwise(instants_s))


def test_snapshots_of_a_replayed_trace_can_be_planned(tmp_path: Path) -> None:
    """Tests the way from a trace to `maestro plan`, through the commands."""
    arguments = ["simulate", str(SCENARIO), "--policy", "edf", "--rate", "0.3", "--duration", "100"]
    folder = tmp_path / "snapshots"
    replay = [*arguments, "--trace", str(trace(tmp_path)), "--snapshots", str(folder), "--snapshot-every", "25"]
    result = CliRunner().invoke(app, replay)
    assert result.exit_code == 0, result.output
    file = max(folder.iterdir())
    told = CliRunner().invoke(app, ["plan", str(file), "--limit", "0.5", "--policy", "portfolio", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["checked"]
    assert CliRunner().invoke(app, [*replay, "--seeds", "2"]).exit_code == 2


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="snapshots"):
        SnapshotRecorder(tmp_path / "file", 30.0)


def test_snapshots_less_than_a_second_apart_have_files_of_their_own(tmp_path: Path) -> None:
    arguments = ["simulate", str(SCENARIO), "--policy", "edf", "--rate", "0.5", "--duration", "12"]
    folder = tmp_path / "snapshots"
    result = CliRunner().invoke(app, [*arguments, "--snapshots", str(folder), "--snapshot-every", "0.5"])
    assert result.exit_code == 0, result.output
    names = sorted(file.name for file in folder.iterdir())
    assert {"000009500ms.json", "000010000ms.json", "000010500ms.json"} <= set(names)
