"""Claims about `maestro trace record`: what a running scheduler's trace holds, and what can be done with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_processes import PATIENCE_S, until
from cli_scenario import REPOSITORY, write_scenario

from maestro.client import Client
from maestro.trace import read_trace
from maestro.workflow_file import load_workflow

MAESTRO = (sys.executable, "-m", "maestro_services.cli")
WORKFLOWS = REPOSITORY / "scenarios" / "workflows"


def maestro(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAESTRO, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


class Running:
    """A scheduler with simulated engines."""

    def __init__(self, scenario: Path) -> None:
        self.scenario = scenario
        self.process = subprocess.Popen([*MAESTRO, "up", str(scenario), "--json"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.server: str = json.loads(self.process.stdout.readline())["scheduler"]

    def run(self, workflow: str) -> str:
        """Run a workflow to its end and return its id."""
        with Client(self.server) as client:
            workflow_id = client.submit(load_workflow(WORKFLOWS / workflow))
            assert client.result(workflow_id, timeout_s=PATIENCE_S).succeeded
        return workflow_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    found = Running(write_scenario(tmp_path_factory.mktemp("record")))
    yield found
    found.process.terminate()
    found.process.wait(timeout=PATIENCE_S)


def test_what_a_scheduler_ran_is_recorded_while_it_runs_checked_and_replayed(running: Running, tmp_path: Path) -> None:
    """Tests the whole way, and that a second recording adds what came since and nothing twice."""
    trace = tmp_path / "trace.jsonl"
    chain = running.run("chain.yaml")
    first = maestro("trace", "record", running.scenario, "--out", trace, "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["workflows"] == 1

    diamond = running.run("diamond.yaml")
    assert maestro("trace", "record", running.scenario, "--out", trace).returncode == 0
    calls = read_trace(trace)
    assert list(dict.fromkeys(call.workflow_id for call in calls)) == [chain, diamond]
    for call in calls:
        assert call.ready_s is not None and call.start_s is not None and call.first_token_s is not None  # noqa: PT018
        assert call.latency_s is not None
        assert call.ready_s <= call.start_s <= call.first_token_s
        assert call.accelerator in {"left-cpu", "right-cpu"}
        assert call.completion_tokens > 0
    assert any(call.think_time_s for call in calls)

    checked = maestro("trace", "check", trace, "--json")
    assert json.loads(checked.stdout)["workflows"] == 2
    simulated = maestro(
        *("simulate", running.scenario, "--policy", "edf", "--trace", trace, "--rate", "0.1", "--workflows", "10"),
        "--json",
    )
    assert simulated.returncode == 0, simulated.stderr
    (result,) = json.loads(simulated.stdout)["seeds"]
    assert result["failures"] == 0


def test_a_recorder_that_follows_writes_what_ends_until_it_is_interrupted(running: Running, tmp_path: Path) -> None:
    """Tests that Ctrl-C is its ordinary end."""
    trace = tmp_path / "trace.jsonl"
    follower = subprocess.Popen(
        [*MAESTRO, "trace", "record", str(running.scenario), "--out", str(trace), "--follow", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    workflow = running.run("chain.yaml")
    until(lambda: trace.exists() and workflow in trace.read_text())
    follower.send_signal(signal.SIGINT)
    said, _ = follower.communicate(timeout=PATIENCE_S)
    assert follower.returncode == 0
    assert json.loads(said)["workflows"] >= 1


def test_a_trace_of_another_store_is_not_gone_on_with(running: Running, tmp_path: Path) -> None:
    """Tests that the traces of two schedulers are never mixed."""
    trace = tmp_path / "trace.jsonl"
    line = {"workflow_id": "w", "app": "a", "step": 0, "prompt_tokens": 1, "completion_tokens": 1, "sequence": 5}
    trace.write_text(json.dumps(line) + "\n")
    done = maestro("trace", "record", running.scenario, "--out", trace)
    assert done.returncode == 2
    assert "another store" in done.stderr


@pytest.mark.parametrize("content", [None, b"not a database, but long enough to be taken for one" * 99])
def test_a_store_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Tests a scheduler that never ran, and a file that is no store."""
    scenario = write_scenario(tmp_path)
    if content is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "laptop.sqlite").write_bytes(content)
    done = maestro("trace", "record", scenario, "--out", tmp_path / "trace.jsonl")
    assert done.returncode == 2
    assert "scheduler.store" in done.stderr
    assert len(done.stderr.splitlines()) == 1
