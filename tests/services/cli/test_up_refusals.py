"""What `maestro up` ends with where one of its processes cannot run with the scenario."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli_processes import PATIENCE_S
from cli_scenario import write_scenario


def test_a_child_that_refuses_its_configuration_ends_all_with_its_exit_code(tmp_path: Path) -> None:
    """Tests a store that only the scheduler itself finds out to be none: nothing is started again."""
    scenario = write_scenario(tmp_path)
    (tmp_path / "state" / "laptop.sqlite").mkdir(parents=True)
    arguments = (sys.executable, "-m", "maestro_services.cli", "up", str(scenario))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert "scheduler ended with status 2: " in done.stderr
    assert "scheduler.store" in done.stderr
    assert "is started again" not in done.stderr
    assert done.returncode == 2
