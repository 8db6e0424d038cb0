"""A simulated run whose planner is looked at: four accelerators, the family ``agents``, plans at most every 5 s."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from maestro.scenario import Scenario, load
from maestro_services.scheduler.settings import settings_of
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.workload.arrivals import Process, arrivals
from maestro_services.simulation.workload.families import family
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.workload.source import WorkloadModel, workflows
from maestro_services.simulation.world import Simulation, Window
from maestro_solver.planner import PlannerConfig

SCENARIO = Path(__file__).parents[2] / "scenarios" / "one_node_4x80gb.yaml"

POLICIES = {"residency": "planner", "stages": "planner-places-stages"}
"""By what its plans decide, the simulated policy."""

AnyPlanner = TypeVar("AnyPlanner", bound=ChargedPlanner)


@dataclass(frozen=True, slots=True)
class Run:
    """What is simulated; ``churn`` None: the scenario's weight."""

    decides: str
    seed: int
    rate_per_s: float
    duration_s: float
    churn: float | None = None


def run_options(what: str) -> ArgumentParser:
    """A parser of the options that say which run a program described by ``what`` looks at."""
    parser = ArgumentParser(description=what, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--decides", choices=sorted(POLICIES), default="residency")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.706, help="workflows a second")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds in which workflows arrive")
    return parser


def replay(run: Run, planner_of: Callable[[PlannerConfig], AnyPlanner]) -> AnyPlanner:
    """The planner of a run, after it."""
    scenario, policy = load(SCENARIO), policy_named(POLICIES[run.decides])
    settings = settings_of(scenario)
    weights = settings.core.weights
    config = replace(
        settings.core,
        starts=policy.start_order(settings.core.starts),
        min_plan_interval_s=5.0,
        weights=weights if run.churn is None else replace(weights, churn=run.churn),
    )
    planner = planner_of(settings.planner)
    simulation = Simulation(config, partial(policy.predictor, settings.predictor), planner, EngineModel(), run.seed)
    instants = arrivals(Process.POISSON, run.rate_per_s, Random(f"arrivals/{run.seed}"))
    simulation.run(workflows(_workload(scenario, config.reference_kind), instants, run.seed), Window(run.duration_s))
    return planner


def _workload(scenario: Scenario, reference_kind: str) -> WorkloadModel:
    shapes, models = family("agents"), scenario.model_specs
    return WorkloadModel(shapes, spread(shapes, models), models, reference_kind, EngineModel(), tells_truth=False)
