"""Builders of small simulations: one node, two models, short workflows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maestro.scenario import load
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.experiment import Experiment
from maestro_services.simulation.workload.families import family
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.workload.template import Template
from maestro_services.simulation.world import Window

SCENARIO = Path(__file__).parents[3] / "scenarios" / "one_node_4x80gb.yaml"
QUIET = EngineModel(prefill_noise=0.0, decode_noise=0.0, load_noise=0.0)


def experiment(
    templates: tuple[Template, ...] | None = None,
    *,
    rate_per_s: float = 0.2,
    duration_s: float = 400.0,
    workflows: int | None = None,
    **changes: object,
) -> Experiment:
    """Workflows of a family on four accelerators."""
    scenario = load(SCENARIO)
    shapes = templates or family("agents")
    models_map = spread(shapes, scenario.model_specs)
    made = Experiment(scenario, shapes, models_map, rate_per_s, Window(duration_s, workflows), plan_interval_s=5.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def without_wall_clock(result: dict[str, object]) -> dict[str, object]:
    """A result without the one figure that is measured on the wall clock."""
    return {name: value for name, value in result.items() if name != "stages_per_s"}
