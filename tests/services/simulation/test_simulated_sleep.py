"""Engines that sleep in host memory, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from simulated_world import QUIET, SCENARIO, experiment

from maestro.scenario import load
from maestro_services.simulation.experiment import Result, run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.workload.template import Template, TemplateStage

TURNS = (
    Template(
        "essays",
        (
            TemplateStage("s0", "writer", "", (), 500, 200),
            TemplateStage("s1", "critic", "", ("s0",), 500, 200),
            TemplateStage("s2", "writer", "", ("s1",), 500, 200),
        ),
    ),
)
MODELS = {("essays", "writer"): "qwen2.5-32b", ("essays", "critic"): "qwen2.5-14b"}


def two_models_on_one_accelerator(folder: Path, *, sleep: bool) -> Result:
    text = SCENARIO.read_text()
    for was, becomes in {
        "count: 4 ": "count: 1 ",
        "total: 4": "total: 1",
        "sleep: false": f"sleep: {str(sleep).lower()}",
        "weights: 29.5 GB": "weights: 29.5 GB\n    sleep_overhead: 1 MiB",
        "weights: 65.5 GB": "weights: 65.5 GB\n    sleep_overhead: 1 MiB",
    }.items():
        assert was in text
        text = text.replace(was, becomes)
    (folder / "scenario.yaml").write_text(text)
    made = experiment(TURNS, rate_per_s=0.002, duration_s=10_000.0, workflows=6, engine_model=QUIET)
    made = replace(made, scenario=load(folder / "scenario.yaml"), models_map=MODELS)
    return run(made, policy_named("fcfs"), 1)


def test_engines_that_sleep_start_once_and_wake_up_for_every_turn(tmp_path: Path) -> None:
    asleep, stopped = (two_models_on_one_accelerator(tmp_path, sleep=sleep) for sleep in (True, False))
    assert asleep["cold_starts"] == 2
    assert asleep["warm_starts"] > 8
    assert stopped["warm_starts"] == 0
    assert asleep["load_s"] < stopped["load_s"] / 2
    assert (asleep["refusals"], asleep["failures"]) == (0, 0)
