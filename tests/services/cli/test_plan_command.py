"""Claims about `maestro plan` and `maestro snapshot generate`: plans of snapshots and of core instances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_usual_snapshot_needs_no_option() -> None:
    """Tests `maestro snapshot generate` as it stands in README."""
    assert run("snapshot", "generate").exit_code == ExitCode.SUCCESS


def test_a_generated_snapshot_can_be_planned(tmp_path: Path) -> None:
    """Tests the way from `snapshot generate` to `plan`, and that equal seeds give equal snapshots."""
    arguments = ("--family", "small", "--stages", 6, "--accelerators", 2, "--seed", 3)
    snapshot = run("snapshot", "generate", *arguments).stdout
    assert snapshot == run("snapshot", "generate", *arguments).stdout
    (tmp_path / "snapshot.json").write_text(snapshot)
    report = json.loads(run("plan", tmp_path / "snapshot.json", "--limit", 2, "--json").stdout)
    assert sum(report["stages"].values()) == 6
    assert report["plan"]["provenance"]["source"] == report["source"]


@pytest.mark.parametrize("policy", ["planner", "portfolio", "edf", "wspt+patient"])
def test_a_plan_is_reported_with_all_that_is_known_of_it(policy: str, tmp_path: Path) -> None:
    """Tests the figures on standard output and the plan in the file, under each kind of policy."""
    snapshot, out = tmp_path / "snapshot.json", tmp_path / "plan.json"
    snapshot.write_text(run("snapshot", "generate", "--family", "contended-2", "--stages", 12).stdout)
    told = run("plan", snapshot, "--policy", policy, "--limit", 1, "--out", out, "--json")
    report, plan = json.loads(told.stdout), json.loads(out.read_text())
    assert report["policy"] == policy
    assert (report["checked"], report["violations"]) == (True, [])
    assert report["objective"] == pytest.approx(sum(report["terms"].values()))
    assert 0 < report["bound"] <= report["objective"] + 1e-6
    assert report["gap"] == pytest.approx(1 - report["bound"] / report["objective"], abs=1e-6)
    assert set(report["seconds"]) == {"build", "solve", "total"}
    assert {"status", "source", "fallback_reason", "portfolio_objective", "on_time"} <= set(report)
    assert report["stages"]["planned"] == 12 - len(plan["deferred"])
    assert report["swaps"] == sum(not row["initial"] for row in plan["residencies"])
    assert report["plan"] == plan


def test_a_plan_is_shown_with_where_it_came_from(tmp_path: Path) -> None:
    """Tests the view for people."""
    (tmp_path / "snapshot.json").write_text(
        run("snapshot", "generate", "--family", "small", "--stages", 4, "--accelerators", 2).stdout
    )
    shown = run("plan", tmp_path / "snapshot.json").stdout
    assert "source " in shown
    assert "bound " in shown


def test_a_policy_that_is_not_known_is_answered_with_few(tmp_path: Path) -> None:
    """Tests that the nearest names stand in the error, and not all of them."""
    (tmp_path / "snapshot.json").write_text(run("snapshot", "generate", "--family", "small", "--stages", 3).stdout)
    mistyped = run("plan", tmp_path / "snapshot.json", "--policy", "wspt+patent")
    assert mistyped.exit_code == ExitCode.INVALID_INPUT
    assert "--policy: is not known" in mistyped.stderr
    assert "wspt+patient" in mistyped.stderr
    assert len(mistyped.stderr) < 200


def write_core_instance(path: Path) -> Path:
    """Write a core instance of two stages in a chain."""
    stage = {"workflow": "w", "model": "m", "duration_s": 1.0, "kv_gib": 1.0}
    values = {
        "format": "maestro-core-instance/1",
        "tick_s": 0.1,
        "network_delay_s": 0.4,
        "load_gib_per_s": 10.0,
        "weights": {"late": 100, "tardy": 1, "tardy_cap_s": 60, "latency": 0.2, "swap": 1},
        "models": [{"name": "m", "weights_gib": 16}],
        "accelerators": [{"name": "a", "cluster": "c", "memory_gib": 72, "slots": 8, "resident": []}],
        "workflows": [{"name": "w", "deadline_s": 12.3, "weight": 4}],
        "stages": [{"name": "s0", "predecessors": []} | stage, {"name": "s1", "predecessors": ["s0"]} | stage],
    }
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("policy", ["planner", "portfolio", "edf"])
def test_a_core_instance_is_answered_in_its_own_format(policy: str, tmp_path: Path) -> None:
    """Tests the report on standard output and the plan in the file, under each kind of policy."""
    instance, out = write_core_instance(tmp_path / "instance.json"), tmp_path / "plan.json"
    told = run("plan", "--instance", instance, "--policy", policy, "--limit", 0.3, "--out", out, "--json")
    report, plan = json.loads(told.stdout), json.loads(out.read_text())
    assert report["checked"]
    assert report["objective"] == pytest.approx(sum(report["terms"].values()))
    assert report["bound"] <= report["objective"] + 1e-6
    assert report["stages"] == {"planned": 2, "deferred": 0}
    assert [row["start_s"] for row in plan["assignments"]] == [1.6, 2.6]


def test_a_core_plan_is_shown_to_people(tmp_path: Path) -> None:
    """Tests the view without --json."""
    told = run("plan", "--instance", write_core_instance(tmp_path / "instance.json"), "--limit", 0.3)
    assert "2 stages placed, 100% of workflows on time, 1 loads" in told.stdout


def test_plan_takes_a_snapshot_or_an_instance_and_not_both(tmp_path: Path) -> None:
    """Tests that none, both, and options that cannot be followed are refused with the remedy."""
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(run("snapshot", "generate", "--family", "small", "--stages", 3).stdout)
    instance = write_core_instance(tmp_path / "instance.json")
    for arguments in (
        (),
        (instance, "--instance", instance),
        (snapshot, "--policy", "unheard-of"),
        (snapshot, "--out", tmp_path / "nowhere" / "plan.json"),
        ("--instance", instance, "--policy", "unheard-of"),
        ("--instance", instance, "--limit", 0),
        ("--instance", instance, "--limit", 0.2, "--out", tmp_path / "nowhere" / "plan.json"),
    ):
        assert run("plan", *arguments).exit_code == ExitCode.INVALID_INPUT
    assert run("plan", "--instance", tmp_path / "missing.json").exit_code != 0


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"version": 1}', b'{"version": "\xff\xfe"}', b"\x00\xff" * 50, b"[" * 200_000],
    ids=["cut", "list", "other", "latin", "binary", "deep"],
)
@pytest.mark.parametrize("option", [(), ("--instance",)])
def test_what_is_no_snapshot_is_invalid_input(option: tuple[str, ...], content: bytes, tmp_path: Path) -> None:
    """Tests that broken JSON, wrong JSON and what is no text are refused in one line."""
    (tmp_path / "snapshot.json").write_bytes(content)
    result = run("plan", *option, tmp_path / "snapshot.json")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert result.stderr.startswith("maestro: ")
    assert result.stderr.count("\n") == 1


def test_a_folder_is_no_snapshot(tmp_path: Path) -> None:
    """Tests that the path is named, and that it exists is not denied."""
    result = run("plan", tmp_path)
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert f"{tmp_path}: cannot be read: Is a directory" in result.stderr


@pytest.mark.parametrize("limit", ["inf", "nan", "1e300", "0", "-1"])
def test_a_limit_that_bounds_nothing_is_refused(limit: str, tmp_path: Path) -> None:
    """Tests that --limit is a number of seconds somebody would wait."""
    result = run("plan", tmp_path / "any.json", "--limit", limit)
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "--limit: must be over 0 and at most 86400 seconds" in result.stderr
