"""Plans that place stages are told where neighbours at work make stages longer than they typically are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config
from service_world import GIB, call, fleet, node

from maestro.fleet import ClusterSpec
from maestro.snapshot import ReplicaPhase
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on


def driver(*models_on_the_left: str) -> Driver:
    """Both nodes serve the writer, the left one, which has room, other models beside it. The critic slows by a half."""
    clusters = tuple(ClusterSpec(side, (node(f"{side}-node", 12 * GIB),)) for side in ("left", "right"))
    found = Driver(core_config(fleet=replace(fleet(), clusters=clusters)))
    for side, models in (("left", models_on_the_left), ("right", ())):
        name = f"{side}-node"
        found.post(on.NodeRegistered(name, f"{name}-1", "127.0.0.1:1", frozenset({"writer", "critic"})))
        found.report(name, *(_ready(f"{name}-gpu", model) for model in ("writer", *models)))
    return found


def _ready(accelerator: str, model: str) -> on.ReplicaReport:
    return on.ReplicaReport(accelerator, model, 1, ReplicaPhase.READY, 1 << 28, 0.2, "")


def at_work(found: Driver, *models: str) -> None:
    for model in models:
        for index in range(12):
            spec = WorkflowSpec("essays", (call("only", models=(model,)),), deadline_after_s=500.0)
            found.submit(spec, f"{model}-{index}")


def stretches(found: Driver) -> dict[str, dict[str, float]]:
    return {state.name: dict(state.stretch) for state in found.core.snapshot(found.now).accelerators}


def test_a_neighbour_at_work_stretches_stages_against_the_average() -> None:
    found = driver("critic")
    at_work(found, "writer", "critic")
    writers = (1.5, 1.0)  # on the left, on the right
    average = sum(writers) / 2
    assert stretches(found) == {
        "left-node-gpu": {"writer": pytest.approx(1.5 / average)},
        "right-node-gpu": {"writer": pytest.approx(1.0 / average)},
    }


def test_a_neighbour_without_work_slows_nobody() -> None:
    found = driver("critic")
    at_work(found, "writer")
    assert stretches(found) == {"left-node-gpu": {}, "right-node-gpu": {}}


def test_a_model_that_serves_nowhere_is_stretched_wherever_others_work() -> None:
    found = driver()
    at_work(found, "writer")
    assert stretches(found) == {name: {"critic": 1.5} for name in ("left-node-gpu", "right-node-gpu")}
