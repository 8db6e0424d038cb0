"""Claims about `maestro demo`; the run on real engines is in tests/end_to_end."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cli_processes import PATIENCE_S
from cli_scenario import REPOSITORY, write_scenario
from typer.testing import CliRunner

from maestro.errors import InvalidInputError
from maestro.snapshot import ReplicaPhase
from maestro.validation import WorkflowLimits, validate
from maestro_services.cli.demo_process import is_listened_on, last_words, still_running
from maestro_services.cli.demo_summary import LoadCounter
from maestro_services.cli.demo_workflows import demo_workflows
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.fleet_client import AcceleratorView, NodeView, ReplicaView
from maestro_services.cli.main import app

WORKFLOWS = REPOSITORY / "scenarios" / "workflows"


def test_there_are_eight_valid_workflows_of_three_shapes_on_different_subjects() -> None:
    """Tests that no two of them are the same."""
    found = demo_workflows(WORKFLOWS)
    assert len({title for title, _ in found}) == 8
    assert {title.rpartition("-")[0] for title, _ in found} == {"chain", "fan-out", "diamond"}
    assert len({spec.stages for _, spec in found}) == 8
    for _, spec in found:
        models = {"smollm2-writer", "smollm2-critic"}
        validate(spec, limits=WorkflowLimits(), models=models, slo_classes={spec.slo_class})


def test_a_file_that_changed_its_subject_is_noticed(tmp_path: Path) -> None:
    """Tests that the demo would not run one workflow several times without a word."""
    for file in WORKFLOWS.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace("Lisbon", "Porto"))
    with pytest.raises(InvalidInputError, match="Lisbon"):
        demo_workflows(tmp_path)


def node_with(model: str, generation: int) -> NodeView:
    replica = ReplicaView(model, generation, ReplicaPhase.READY, 1, 1, 0, 1.0, "")
    return NodeView("n", "c", "a:1", "up", 0, (AcceleratorView("gpu-0", 10, 2, (replica,)),))


def test_a_swap_is_a_load_after_the_first_on_an_accelerator() -> None:
    """Tests that a replica seen twice is one load."""
    counter = LoadCounter()
    for model, generation in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
        counter.observe([node_with(model, generation)])
    assert (counter.loads, counter.swaps) == (3, 2)


class EndsWhileAsked(psutil.Process):
    """A process that was there when it was looked for, and is gone when its command line is read."""

    def cmdline(self) -> list[str]:
        raise psutil.NoSuchProcess(self.pid)


def test_a_process_that_ends_meanwhile_hides_no_other() -> None:
    """Tests that what is left is told though a sibling ends in the middle of the question."""
    (left,) = still_running([EndsWhileAsked(), psutil.Process()])
    assert left == " ".join(psutil.Process().cmdline())


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_an_address_that_is_listened_on_is_noticed(family: socket.AddressFamily, host: str) -> None:
    """Tests both kinds of addresses, before and after."""
    with socket.socket(family) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        server.listen()
        shown = f"[{host}]" if ":" in host else host
        address = f"{shown}:{server.getsockname()[1]}"
        assert is_listened_on(address)
    assert not is_listened_on(address)


def test_a_scenario_that_is_not_there_is_named() -> None:
    """Tests that the scenario is looked at before the workflows beside it."""
    result = CliRunner().invoke(app, ["demo", "nofile.yaml"])
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert result.stderr.startswith("maestro: nofile.yaml: cannot be read")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"error": {"field": "a.b", "problem": "is wrong", "value": "x", "remedy": "mend it"}}', "a.b: is wrong"),
        ('a line\n{"error": {"field": "", "problem": "is up", "value": null, "remedy": ""}}\n', "is up"),
        ("Traceback\nValueError: [1]\n", "ValueError: [1]"),
        ("", ""),
    ],
)
def test_what_a_process_said_last_is_told_in_words(said: str, words: str) -> None:
    """Tests errors as JSON, and what is none."""
    assert last_words(said).startswith(words)
    assert "{" not in last_words(said)


def test_the_demo_runs_from_start_to_a_clean_stop(tmp_path: Path) -> None:
    """Tests the whole of it on simulated engines: every workflow succeeds and nothing is left."""
    done = subprocess.run(
        [sys.executable, "-m", "maestro_services.cli", "demo", str(write_scenario(tmp_path)), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["succeeded"] == report["summary"]["workflows"] == 8
    assert report["summary"]["used_tokens"] > 0
    assert sum(report["summary"]["plans_by_source"].values()) > 0, report["summary"]
    assert re.search("no process left, no port held", done.stderr)
