"""Claims about `maestro explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def planned(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Write a snapshot and its plan, and tell the first assignment."""
    snapshot, out = tmp_path / "snapshot.json", tmp_path / "plan.json"
    snapshot.write_text(run("snapshot", "generate", "--family", "contended-1", "--stages", 8).stdout)
    assert run("plan", snapshot, "--limit", 1, "--out", out).exit_code == ExitCode.SUCCESS
    return snapshot, out, json.loads(out.read_text())["assignments"][0]


def test_a_stage_of_a_plan_is_explained(tmp_path: Path) -> None:
    """Tests place, time and what binds, as data and for people."""
    snapshot, plan, first = planned(tmp_path)
    name = "/".join(first["stage"])
    found = json.loads(run("explain", snapshot, plan, "--stage", name, "--json").stdout)
    assert (found["accelerator"], found["start_s"]) == (first["accelerator"], first["start_s"])
    assert found["obstacles"]
    assert found["next_best"] in [None, *found["others"]]
    shown = run("explain", snapshot, plan, "--stage", name).stdout
    assert f"{name} runs as {first['model']} on {first['accelerator']}" in shown


def test_a_plan_is_explained_by_the_price_of_its_weights(tmp_path: Path) -> None:
    """Tests that every term has its weight, what it costs and its price."""
    snapshot, plan, _ = planned(tmp_path)
    found = json.loads(run("explain", snapshot, plan, "--limit", 1, "--json").stdout)
    assert [row["term"] for row in found["weights"]] == ["late", "tardy", "latency", "swap", "network", "gpu"]
    assert sum(row["cost"] for row in found["weights"]) == pytest.approx(found["objective"])
    assert sum(found["bindings"].values()) > 0
    assert "price" in run("explain", snapshot, plan, "--limit", 1).stdout


def test_what_cannot_be_explained_is_invalid_input(tmp_path: Path) -> None:
    """Tests a stage that is not there, one that is not written as such, a plan of another snapshot, and no file."""
    snapshot, plan, _ = planned(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(run("snapshot", "generate", "--family", "small", "--stages", 3).stdout)
    for arguments in (
        (snapshot, plan, "--stage", "w0/unheard-of"),
        (snapshot, plan, "--stage", "w0"),
        (other, plan),
        (snapshot, tmp_path / "missing.json"),
        (snapshot, snapshot),
    ):
        assert run("explain", *arguments).exit_code == ExitCode.INVALID_INPUT
