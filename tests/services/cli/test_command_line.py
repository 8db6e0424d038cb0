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
