"""Limits that bound nothing are refused by every command that takes one."""

from __future__ import annotations

import pytest
from cli_scenario import REPOSITORY
from typer.testing import CliRunner

from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.main import app

SCENARIO = str(REPOSITORY / "scenarios" / "one_node_4x80gb.yaml")
COMMANDS = {
    "solve": ("solve", SCENARIO, "--budget", "1"),
    "demo": ("demo", SCENARIO),
    "plan": ("plan", "nowhere.json"),
    "explain": ("explain", "nowhere.json", "nowhere.json"),
}


@pytest.mark.parametrize("limit", ["1e300", "inf", "nan", "0", "-1"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_that_bounds_nothing_is_refused(command: str, limit: str) -> None:
    """Tests that option, value and remedy are named before anything else is done."""
    done = CliRunner().invoke(app, [*COMMANDS[command], f"--limit={limit}"])
    assert done.exit_code == ExitCode.INVALID_INPUT
    assert "--limit" in done.stderr
    assert f"got {float(limit)!r}" in done.stderr
    assert "give the seconds" in done.stderr
