"""Tests that a process group and its session yield the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.process_priority import lower_priority

AUTOGROUP = Path("/proc/self/autogroup")


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True) as process:
        yield process
        process.kill()


def test_the_process_is_nicer_than_the_caller(leader: subprocess.Popen[bytes]) -> None:
    lower_priority(leader.pid, 7)
    assert os.getpriority(os.PRIO_PROCESS, leader.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)


def test_niceness_ends_at_the_kernels_limit(leader: subprocess.Popen[bytes]) -> None:
    lower_priority(leader.pid, 19)
    lower_priority(leader.pid, 19)
    assert os.getpriority(os.PRIO_PROCESS, leader.pid) == 19


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_the_session_yields_and_the_callers_does_not(leader: subprocess.Popen[bytes]) -> None:
    before = AUTOGROUP.read_text()
    lower_priority(leader.pid, 19)
    niceness = os.getpriority(os.PRIO_PROCESS, leader.pid)
    assert niceness > os.getpriority(os.PRIO_PROCESS, 0)
    assert Path(f"/proc/{leader.pid}/autogroup").read_text().split()[-1] == str(niceness)
    assert AUTOGROUP.read_text() == before


def test_a_process_that_has_ended_is_left_alone(leader: subprocess.Popen[bytes]) -> None:
    leader.kill()
    leader.wait()
    lower_priority(leader.pid, 5)
