"""Claims about the `maestro` command: what it prints, where, and what it ends with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cli_scenario import REPOSITORY, free_address, write_scenario
from typer.testing import CliRunner, Result

from maestro.errors import (
    ConflictError,
    DeadlineExceededError,
    InfeasibleError,
    InvalidInputError,
    MaestroError,
    NotFoundError,
    OverloadedError,
    UnreachableError,
)
from maestro_services.cli.exit_codes import ExitCode, exit_code
from maestro_services.cli.main import app

LAPTOP = REPOSITORY / "scenarios" / "laptop.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError("stages", "is empty"), 2),
        (NotFoundError("no such workflow"), 2),
        (ConflictError("exists"), 2),
        (InfeasibleError("does not fit"), 3),
        (DeadlineExceededError("too slow"), 4),
        (UnreachableError("nobody there"), 5),
        (OverloadedError("full"), 5),
        (MaestroError("anything else"), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: MaestroError, code: int) -> None:
    """Tests the documented table."""
    assert exit_code(error) == code


def test_help_loads_neither_grpc_nor_the_solver() -> None:
    """Tests that commands import their parts only when they run."""
    code = (
        "import sys; from maestro_services.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'ortools', 'torch', 'pydantic', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "submit" in outcome.stdout


def test_an_error_is_one_readable_line_on_standard_error() -> None:
    """Tests that a result and an error never mix, and that no traceback is shown."""
    result = run("submit", "no-such-file.yaml")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert result.stdout == ""
    assert result.stderr.startswith("maestro: ")
    assert result.stderr.count("\n") == 1


def test_an_error_is_json_where_json_was_asked_for() -> None:
    """Tests that programs get field, problem, value and remedy."""
    result = run("model", "import", REPOSITORY / "Makefile", "somewhere", "--python", sys.executable, "--json")
    error = json.loads(result.stderr)["error"]
    assert set(error) == {"field", "problem", "value", "remedy"}
    assert error["field"] == "source"
    assert error["remedy"]


def test_a_missing_model_is_named_before_the_interpreter_is_looked_at(tmp_path: Path) -> None:
    """Tests that whoever mistypes the source is not sent to install an interpreter."""
    result = run("model", "import", tmp_path / "nope", tmp_path / "dest", "--python", tmp_path / "python")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert f"there is no file or folder {tmp_path / 'nope'}" in result.stderr


def test_an_unknown_option_is_invalid_input() -> None:
    """Tests that usage errors have the code of invalid input."""
    assert run("submit", "--no-such-option").exit_code == ExitCode.INVALID_INPUT


@pytest.mark.parametrize(
    "command", [("status",), ("watch", "x"), ("cancel", "x"), ("drain", "x"), ("complete", "x", "y")]
)
def test_a_scheduler_that_is_not_there_is_unreachable(command: tuple[str, ...]) -> None:
    """Tests the exit code and that the message says what to start."""
    options = ("--output", "done") if command[0] == "complete" else ()
    result = run(*command, *options, "--server", free_address())
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "maestro up" in result.stderr


@pytest.mark.parametrize(("name", "file"), [("scenario", "scenario"), ("workflow", "workflows/workflow")])
def test_the_shipped_schemas_are_what_the_command_prints(name: str, file: str) -> None:
    """Tests that editors complete what this version reads."""
    shipped = json.loads((REPOSITORY / "scenarios" / f"{file}.schema.json").read_text())
    assert json.loads(run("schema", name).stdout) == shipped


def test_the_version_is_told() -> None:
    """Tests --version, which needs no command."""
    result = run("--version")
    assert result.exit_code == ExitCode.SUCCESS
    assert result.stdout.startswith("maestro 0")


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:0", "localhost", "127.0.0.1:"])
def test_an_address_that_cannot_be_is_refused_before_it_is_called(address: str) -> None:
    """Tests that no port wraps around to another one."""
    result = run("status", "--server", address)
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "maestro: --server: " in result.stderr


@pytest.mark.parametrize(
    "command", [("status",), ("show", "x"), ("submit", LAPTOP.parent / "workflows" / "chain.yaml")]
)
def test_a_service_that_is_no_scheduler_is_said_to_be_none(command: tuple[object, ...]) -> None:
    """Tests what whoever gives a node's address is told."""
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        result = run(*command, "--server", address)
    finally:
        server.stop(None)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert f"{address} is not a scheduler (a node?)" in result.stderr


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


def test_solve_says_why_a_budget_is_infeasible_and_what_would_do() -> None:
    """Tests exit codes 0 and 3 on the shipped workload."""
    enough, too_few = run("solve", LAPTOP, "--budget", 2), run("solve", LAPTOP, "--budget", 1)
    assert enough.exit_code == ExitCode.SUCCESS
    assert too_few.exit_code == ExitCode.INFEASIBLE
    assert "serving all takes 2" in too_few.stderr
    assert "proven to need" not in too_few.stdout


def test_solve_names_every_short_demand_and_caps_a_budget_aloud(tmp_path: Path) -> None:
    """Tests what a demand beyond the fleet and a budget beyond it are answered with."""
    text, count = re.subn(r"requests_per_s: 0\.\d", "requests_per_s: 500", LAPTOP.read_text())
    assert count == 2
    (tmp_path / "busy.yaml").write_text(text.replace("../", f"{REPOSITORY}/"))
    short = run("solve", tmp_path / "busy.yaml", "--budget", 2)
    assert short.exit_code == ExitCode.INFEASIBLE
    assert "drafts" in short.stderr
    assert "reviews" in short.stderr
    capped = run("solve", LAPTOP, "--budget", 4)
    assert capped.exit_code == ExitCode.SUCCESS
    assert "the fleet has 2 accelerators: a budget of 4 is one of 2" in capped.stderr


def test_a_node_that_the_scenario_lacks_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """Tests that a wrong name is answered with the right ones."""
    result = run("node", "--scenario", write_scenario(tmp_path), "--name", "middle-node")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "left-node" in result.stderr


def test_a_node_is_not_sent_to_a_port_that_wraps_around(tmp_path: Path) -> None:
    """Tests `--scheduler`, which is an address like any other."""
    named = ("--scenario", write_scenario(tmp_path), "--name", "left-node")
    result = run("node", *named, "--scheduler", "127.0.0.1:99999")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "--scheduler: has a port that does not exist" in result.stderr
