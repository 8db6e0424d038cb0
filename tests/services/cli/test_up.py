"""Claims about `maestro up`, run as users run it: real processes, gRPC in between, simulated engines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli_processes import PATIENCE_S, still_there, until
from cli_scenario import write_scenario

MAESTRO = (sys.executable, "-m", "maestro_services.cli")


class Up:
    """A running `maestro up` and what it announced."""

    def __init__(self, scenario: Path) -> None:
        self.process = subprocess.Popen([*MAESTRO, "up", str(scenario), "--json"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.starting = json.loads(self.process.stdout.readline())
        self.ready = json.loads(self.process.stdout.readline())
        self.server: str = self.ready["scheduler"]

    def child(self, command: str) -> psutil.Process:
        """Find the child that runs the command; raises StopIteration while there is none."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if command in child.cmdline())

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MAESTRO, *arguments, "--server", self.server],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(write_scenario(tmp_path_factory.mktemp("up")))
    yield running
    running.process.terminate()
    running.process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def scenario(up: Up) -> Path:
    return Path(up.starting["log_dir"]).parents[1] / "scenario.yaml"


def test_it_says_where_everything_is(up: Up) -> None:
    """Tests the announcements: addresses and the folder of the logs, before and after all nodes have registered."""
    assert up.starting["event"] == "starting"
    assert up.ready["event"] == "ready"
    assert set(up.ready["nodes"]) == {"left-node", "right-node"}
    logs = {path.name for path in Path(up.ready["log_dir"]).iterdir()}
    assert {"scheduler.log", "left-node.log", "right-node.log"} <= logs


def test_a_workflow_can_be_submitted_and_watched_to_its_outputs(up: Up, scenario: Path) -> None:
    """Tests `submit --watch` without a terminal: plain lines, then every output."""
    done = up.call("submit", str(scenario.parent / "workflows" / "diamond.yaml"), "--watch")
    assert done.returncode == 0, done.stderr
    assert "succeeded in" in done.stdout
    for stage in ("plan", "benefits", "risks", "calendar", "memo"):
        assert stage in done.stdout


def test_watching_as_json_is_a_line_an_event_and_then_the_workflow(up: Up, scenario: Path) -> None:
    """Tests what a program that follows a workflow reads."""
    done = up.call("submit", str(scenario.parent / "workflows" / "chain.yaml"), "--watch", "--json")
    head, *lines = (json.loads(line) for line in done.stdout.splitlines())
    assert set(head) == {"workflow_id"}
    assert {"StageChanged", "WorkflowChanged"} <= {line["kind"] for line in lines[:-1]}
    assert [stage["state"] for stage in lines[-1]["workflow"]["stages"]] == ["succeeded"] * 3


def test_status_shows_nodes_workflows_and_the_plan(up: Up) -> None:
    """Tests the operator's view, as JSON and for people."""
    report = json.loads(up.call("status", "--json").stdout)
    assert {node["state"] for node in report["nodes"]} == {"up"}
    assert "left-node" in up.call("status").stdout


def test_a_node_can_be_drained_and_taken_back(up: Up) -> None:
    """Tests that both states are reported."""
    assert up.call("drain", "left-node").stdout.strip() == "left-node: draining"
    assert up.call("drain", "left-node", "--undo").stdout.strip() == "left-node: up"
    assert up.call("drain", "middle-node").returncode == 2


def test_a_tool_stage_waits_until_it_is_completed(up: Up, tmp_path: Path) -> None:
    """Tests `complete`, and that what it brings is the stage's output."""
    (tmp_path / "tool.yaml").write_text("app: tools\nstages:\n  - {id: ask, tool: human}\n")
    workflow = up.call("submit", str(tmp_path / "tool.yaml")).stdout.strip()
    assert up.call("complete", workflow, "ask", "--output", "forty-two").returncode == 0
    assert "forty-two" in up.call("watch", workflow).stdout


def test_a_workflow_can_be_shown_and_named_by_the_beginning_of_its_id(up: Up, scenario: Path) -> None:
    """Tests `show`, for people and as JSON, and that an ambiguous beginning is refused with those it is of."""
    chain = str(scenario.parent / "workflows" / "chain.yaml")
    first, _ = (up.call("submit", chain).stdout.strip() for _ in range(2))
    assert up.call("watch", first).returncode == 0
    shown = json.loads(up.call("show", first[:-1], "--json").stdout)
    assert shown["id"] == first
    assert [stage["state"] for stage in shown["stages"]] == ["succeeded"] * 3
    assert "3/3" in up.call("show", first).stdout
    several = up.call("show", first[:1])
    assert several.returncode == 2
    assert "is the beginning of several" in several.stderr
    assert "maestro status" in up.call("show", "unheard-of").stderr


def test_ctrl_c_leaves_the_workflow_alone_and_says_so(up: Up, tmp_path: Path) -> None:
    """Tests the words and the exit code of a watch that is broken off."""
    (tmp_path / "tool.yaml").write_text("app: tools\nstages:\n  - {id: ask, tool: human}\n")
    arguments = [*MAESTRO, "submit", str(tmp_path / "tool.yaml"), "--watch", "--server", up.server]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        workflow = watching.stdout.readline().strip()
        while "ask" not in watching.stdout.readline():
            pass
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 130
    assert f"{workflow} goes on; follow it: maestro watch {workflow}, end it: maestro cancel {workflow}" in said
    assert "1 stages" not in up.call("status").stdout
    assert up.call("cancel", workflow).returncode == 0


def test_a_cancelled_workflow_ends_a_watch_with_1(up: Up, tmp_path: Path) -> None:
    """Tests that scripts notice a workflow that did not succeed."""
    (tmp_path / "tool.yaml").write_text("app: tools\nstages:\n  - {id: ask, tool: human}\n")
    workflow = up.call("submit", str(tmp_path / "tool.yaml")).stdout.strip()
    assert up.call("cancel", workflow).stdout.strip() == f"{workflow}: cancelled"
    assert up.call("watch", workflow).returncode == 1


def test_a_second_up_is_told_of_the_first(up: Up, scenario: Path) -> None:
    """Tests that it names the processes and how to end them, and leaves the first alone."""
    second = subprocess.run(
        [*MAESTRO, "up", str(scenario)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert second.returncode == 2
    assert f"`maestro up` has pid {up.process.pid}" in second.stderr
    assert f"scheduler (pid {up.child('serve').pid})" in second.stderr
    assert "maestro down" in second.stderr
    assert up.call("status").returncode == 0


def test_an_address_in_use_is_refused_at_once(up: Up, scenario: Path, tmp_path: Path) -> None:
    """Tests that another scenario on the same addresses names the address."""
    text = scenario.read_text().replace(f"{scenario.parent}/state", str(tmp_path / "state"))
    (tmp_path / "scenario.yaml").write_text(text)
    second = subprocess.run(
        [*MAESTRO, "up", str(tmp_path / "scenario.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 2
    assert up.server in second.stderr


def test_a_demo_beside_it_says_what_is_in_the_way(up: Up, scenario: Path) -> None:
    """Tests that what the demo's own `up` says is passed on in words, and nothing else."""
    done = subprocess.run(
        [*MAESTRO, "demo", str(scenario)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert done.stderr.startswith("maestro: `maestro up` ended: the scenario is up already")
    assert "{" not in done.stderr
    assert "Unknown child process" not in done.stderr


def test_a_scheduler_of_its_own_on_an_address_in_use_is_refused(up: Up, scenario: Path, tmp_path: Path) -> None:
    """Tests that `serve` says in one line which key to change, and with the status that `up` takes for final."""
    text = scenario.read_text().replace(f"{scenario.parent}/state", str(tmp_path / "state"))
    (tmp_path / "scenario.yaml").write_text(text)
    second = subprocess.run(
        [*MAESTRO, "serve", str(tmp_path / "scenario.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 2
    assert f"maestro: scheduler.listen: cannot be bound (got '{up.server}')" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize("log_dir", ["file", "file/logs"])
def test_logs_that_cannot_be_written_are_refused_at_once(log_dir: str, tmp_path: Path) -> None:
    """Tests that the key is named before any process is started."""
    scenario = write_scenario(tmp_path)
    (tmp_path / "file").write_text("")
    text, count = re.subn(r"log_dir: \S+", f"log_dir: {tmp_path / log_dir}", scenario.read_text())
    assert count == 1
    scenario.write_text(text)
    done = subprocess.run(
        [*MAESTRO, "up", str(scenario)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert "maestro: engine.log_dir: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_scheduler_is_started_again_and_no_node_with_it(up: Up) -> None:
    """Tests that kill -9 on one child brings a new one, which finds the nodes that stayed."""
    nodes = {child.pid for child in psutil.Process(up.process.pid).children() if "node" in child.cmdline()}
    killed = up.child("serve").pid
    os.kill(killed, signal.SIGKILL)

    def back() -> bool:
        report = up.call("status", "--json")
        return report.returncode == 0 and all(node["state"] == "up" for node in json.loads(report.stdout)["nodes"])

    until(back)
    assert up.child("serve").pid != killed
    assert nodes == {child.pid for child in psutil.Process(up.process.pid).children() if "node" in child.cmdline()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_ends_everything(number: signal.Signals, tmp_path: Path) -> None:
    """Tests that no process is left and that the exit code is that of a success."""
    running = Up(write_scenario(tmp_path))
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.process.send_signal(number)
    assert running.process.wait(timeout=PATIENCE_S) == 0
    assert still_there(family) == []


def test_down_ends_what_a_killed_up_has_left(tmp_path: Path) -> None:
    """Tests that kill -9 of `up` can be mended: the next one names what is left, and `down` ends it."""
    file = write_scenario(tmp_path)
    running = Up(file)
    family = psutil.Process(running.process.pid).children(recursive=True)
    running.process.kill()
    running.process.wait()
    again = subprocess.run([*MAESTRO, "up", str(file)], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert again.returncode == 2
    assert "was killed and has left scheduler (pid " in again.stderr
    done = subprocess.run(
        [*MAESTRO, "down", str(file)], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    assert "ended scheduler" in done.stdout
    assert still_there(family) == []


def test_down_ends_a_running_up(tmp_path: Path) -> None:
    """Tests that the supervisor itself ends as if by its own signal."""
    file = write_scenario(tmp_path)
    running = Up(file)
    down = subprocess.Popen([*MAESTRO, "down", str(file)], stdout=subprocess.PIPE, text=True)
    assert running.process.wait(timeout=PATIENCE_S) == 0
    said, _ = down.communicate(timeout=PATIENCE_S)
    assert said.startswith(f"ended up (pid {running.process.pid})")
    assert not (tmp_path / "state" / "laptop.up.json").exists()
