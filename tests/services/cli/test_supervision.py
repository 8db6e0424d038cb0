"""Claims about how `maestro up` keeps its children alive."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from cli_processes import PATIENCE_S

from maestro_services.cli.supervision import ChildFailedError, ChildSpec, RestartPolicy, supervise

QUICK = RestartPolicy(first_pause_s=0.05, longest_pause_s=0.1, final_statuses=frozenset({2}))
SLEEPER = "import os, time; open({file!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"


def sleeper(name: str, folder: Path) -> ChildSpec:
    """Make a child that notes its process id at every start and then sleeps."""
    return python_child(name, SLEEPER.format(file=str(folder / f"{name}.pids")), folder)


def python_child(name: str, code: str, folder: Path) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-S", "-c", code), folder / f"{name}.log")


def starts_of(name: str, folder: Path) -> list[int]:
    """List the process ids a sleeper had so far."""
    file = folder / f"{name}.pids"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; a test that waits too long fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def supervised(children: Sequence[ChildSpec], notices: list[str]) -> AsyncIterator[asyncio.Event]:
    """Run the children beside a test."""
    stop = asyncio.Event()
    task = asyncio.create_task(supervise(children, stop, policy=QUICK, stop_timeout_s=1.0, on_notice=notices.append))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def test_stop_ends_every_child(tmp_path: Path) -> None:
    """Tests that no process is left."""
    names = ("a", "b")
    async with supervised([sleeper(name, tmp_path) for name in names], []):
        await until(lambda: all(starts_of(name, tmp_path) for name in names))
    assert not any(psutil.pid_exists(starts_of(name, tmp_path)[0]) for name in names)


async def test_a_killed_child_is_started_again_and_no_other(tmp_path: Path) -> None:
    """Tests that kill -9 on one child brings a new one and leaves its sibling alone."""
    notices: list[str] = []
    async with supervised([sleeper("a", tmp_path), sleeper("b", tmp_path)], notices):
        await until(lambda: starts_of("a", tmp_path) and starts_of("b", tmp_path))
        os.kill(starts_of("a", tmp_path)[0], signal.SIGKILL)
        await until(lambda: len(starts_of("a", tmp_path)) == 2)
        assert len(starts_of("b", tmp_path)) == 1
        assert psutil.pid_exists(starts_of("b", tmp_path)[0])
    assert [notice for notice in notices if "a ended with status -9" in notice]


async def test_children_lead_process_groups_of_their_own(tmp_path: Path) -> None:
    """Tests that a signal to the terminal's group cannot reach a child."""
    async with supervised([sleeper("a", tmp_path)], []):
        await until(lambda: starts_of("a", tmp_path))
        child = starts_of("a", tmp_path)[0]
        assert os.getpgid(child) == child != os.getpgid(0)


async def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """Tests that stopping is bounded, and said."""
    notices: list[str] = []
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER.format(
        file=str(tmp_path / "deaf.pids")
    )
    async with supervised([python_child("deaf", code, tmp_path)], notices):
        await until(lambda: starts_of("deaf", tmp_path))
    assert not psutil.pid_exists(starts_of("deaf", tmp_path)[0])
    assert notices == ["deaf did not end within 1 s and is killed"]


async def test_a_final_status_ends_all_and_names_the_log(tmp_path: Path) -> None:
    """Tests that a child that can never succeed is not started for ever."""
    children = [sleeper("a", tmp_path), python_child("wrong", "print('no such model'); raise SystemExit(2)", tmp_path)]
    with pytest.raises(ChildFailedError, match=r"wrong ended with status 2: no such model \(log: .*wrong\.log\)"):
        await supervise(children, asyncio.Event(), policy=QUICK, stop_timeout_s=1.0, on_notice=lambda notice: None)
    assert not any(psutil.pid_exists(process) for process in starts_of("a", tmp_path))


async def test_what_a_child_prints_is_in_its_log(tmp_path: Path) -> None:
    """Tests that both streams of every life are appended to one file."""
    child = python_child("loud", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(1)", tmp_path)
    async with supervised([child], []):
        await until(lambda: child.log_file.exists() and child.log_file.read_text().count("out") > 1)
    assert "err" in child.log_file.read_text()


def test_pauses_double_up_to_the_longest() -> None:
    """Tests the restart policy, far beyond what a float could double to."""
    policy = RestartPolicy(first_pause_s=1.0, longest_pause_s=30.0)
    assert [policy.pause_after(failures) for failures in (1, 2, 3, 6, 5000)] == [1.0, 2.0, 4.0, 30.0, 30.0]
