"""What a scenario names and this machine lacks. It may be for another machine, so these are no problems of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from maestro.document import KeyPath
from maestro.problem import Problem
from maestro.scenario.root import Scenario


def check_machine(scenario: Scenario) -> Iterator[Problem]:
    """Yield models and interpreters that are not here, cores beyond those there are, files that cannot be written."""
    if any(node.engine == "vllm" for node in scenario.nodes.values()):
        yield from _check_models(scenario)
        yield from _check_interpreter(scenario)
        yield from _check_cores(scenario)
    yield from _check_writable(("scheduler", "store"), scenario.scheduler.store.parent)
    yield from _check_writable(("engine", "log_dir"), scenario.engine.log_dir)


def _check_models(scenario: Scenario) -> Iterator[Problem]:
    for index, model in enumerate(scenario.models):
        if not (model.path / "config.json").is_file():
            remedy = "bring one with `maestro model import`, or correct the path"
            yield Problem(("models", index, "path"), "holds no model on this machine", str(model.path), remedy)


def _check_interpreter(scenario: Scenario) -> Iterator[Problem]:
    python = scenario.engine.python
    if python is not None and not (python.is_file() and os.access(python, os.X_OK)):
        remedy = "install vLLM into an environment of its own and name its python"
        yield Problem(("engine", "python"), "is not an interpreter on this machine", str(python), remedy)


def _check_cores(scenario: Scenario) -> Iterator[Problem]:
    there = os.cpu_count() or 1
    for c, cluster in enumerate(scenario.fleet.clusters):
        for n, node in enumerate(cluster.nodes):
            for a, accelerator in enumerate(node.accelerators):
                beyond = [core for core in accelerator.cpu_cores if core >= there]
                if beyond:
                    path: KeyPath = ("fleet", "clusters", c, "nodes", n, "accelerators", a, "cpu_cores")
                    yield Problem(path, f"names cores beyond this machine's 0 to {there - 1}", beyond[0])


def _check_writable(path: KeyPath, folder: Path) -> Iterator[Problem]:
    """Look at the folder, or at the nearest one above it, in which it would be made."""
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        yield Problem(path, "cannot be written on this machine", str(folder), "name a folder that this user may write")
