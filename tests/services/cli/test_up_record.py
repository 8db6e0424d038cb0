"""Claims about the record that a running `maestro up` keeps, and about `maestro down`, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_processes import PATIENCE_S
from cli_scenario import write_scenario
from typer.testing import CliRunner

from maestro.errors import ConflictError, InvalidInputError
from maestro_services.cli.down import end_processes
from maestro_services.cli.main import app
from maestro_services.cli.up_record import KnownProcess, UpRecord, left_running, record_file

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when it is asked to."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True
    ) as found:
        yield found
        found.kill()


def test_a_running_up_is_named_with_its_processes(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Tests that whoever comes second is told whom to end, and how."""
    record = UpRecord(tmp_path / "up.json")
    record.check()
    record.begin()
    record.note("left-node", child.pid)
    with pytest.raises(ConflictError, match=rf"pid {os.getpid()} and runs left-node \(pid {child.pid}\).*maestro down"):
        UpRecord(tmp_path / "up.json").check()
    record.end()
    UpRecord(tmp_path / "up.json").check()


def test_what_a_killed_up_has_left_is_named_and_can_be_ended(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Tests the fleet without its supervisor."""
    file = tmp_path / "up.json"
    UpRecord(file).note("left-node", child.pid)
    with pytest.raises(ConflictError, match=rf"was killed and has left left-node \(pid {child.pid}\)"):
        UpRecord(file).check()
    assert end_processes(left_running(file), PATIENCE_S) == ()
    assert child.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_process_that_does_not_end_is_killed() -> None:
    """Tests that `maestro down` leaves nothing."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    ) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        known = KnownProcess.of("left-node", stubborn.pid)
        assert end_processes((known,), 0.2) == (known,)
        assert stubborn.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_process_id_that_was_given_away_again_is_nobody(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Tests that down would not end a stranger, and that an unreadable record is none."""
    found = KnownProcess.of("left-node", child.pid)
    assert KnownProcess("left-node", child.pid, found.began_s - 1.0).running() is None
    (tmp_path / "up.json").write_text("half a rec")
    assert left_running(tmp_path / "up.json") == ()


def test_a_folder_that_cannot_be_written_is_the_scenarios_fault(tmp_path: Path) -> None:
    """Tests that the key is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match=r"scheduler.store: is in a folder that cannot be written"):
        UpRecord(tmp_path / "file" / "up.json").begin()


def test_down_says_so_where_nothing_runs(tmp_path: Path) -> None:
    """Tests that it is no failure."""
    result = CliRunner().invoke(app, ["down", str(write_scenario(tmp_path))])
    assert (result.exit_code, result.stdout.startswith("nothing of ")) == (0, True)
    assert record_file(Path("state/laptop.sqlite")) == Path("state/laptop.up.json")
