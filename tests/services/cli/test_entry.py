"""Claims about the `maestro` script where not all of its libraries are installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from maestro_services.cli.exit_codes import ExitCode


def run_without(library: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a Python that cannot import ``library``."""
    program = f"""
import sys
sys.modules[{library!r}] = None
sys.argv = ["maestro", *{words!r}]
from maestro_services.cli.entry import main
main()
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_command_line_s_libraries_it_says_what_to_install(library: str) -> None:
    """Tests that the bare package answers with one line, not with a traceback."""
    found = run_without(library, "--help" if library == "typer" else "status")
    assert found.returncode == ExitCode.FAILED
    assert found.stderr.count("\n") == 1
    assert f"{library}, which is not installed: pip install 'maestro-llm[cli]'" in found.stderr


def test_without_a_part_s_library_it_names_the_extras() -> None:
    """Tests that a command whose part is not installed says so."""
    found = run_without("pulp", "solve", "scenarios/laptop.yaml", "--budget", "2")
    assert found.returncode == ExitCode.FAILED
    assert "needs pulp" in found.stderr
    assert "scheduler" in found.stderr


def test_with_everything_there_it_is_the_command() -> None:
    """Tests that the script does not stand in the command's way."""
    found = run_without("no_such_library", "--help")
    assert found.returncode == ExitCode.SUCCESS
    assert "snapshot" in found.stdout
