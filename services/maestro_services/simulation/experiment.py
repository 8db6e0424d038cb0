"""From a scenario, a workload and a policy to the result of one seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from maestro.scenario import Scenario
from maestro_services.scheduler.settings import settings_of
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.faults import FaultModel, faults
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.policies import SimulatedPolicy
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.snapshot_recording import RecordedPlanner, SnapshotRecorder
from maestro_services.simulation.workload.arrivals import Process, arrivals, replayed
from maestro_services.simulation.workload.models_map import ModelsMap
from maestro_services.simulation.workload.source import WorkloadModel, workflows
from maestro_services.simulation.workload.template import Template
from maestro_services.simulation.workload.truth import Arrival
from maestro_services.simulation.world import Progress, Simulation, Window
from maestro_solver.planner import PlannerConfig

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Experiment:
    """All that decides over a run but the policy and the seed.

    ``rate_per_s``: workflows a second; None: recorded arrivals as they are. ``instants``: recorded arrivals, in place
    of ``process``. ``plan_interval_s``: the least time between two plans, where it is not to be the scenario's.
    """

    scenario: Scenario
    templates: Sequence[Template]
    models_map: ModelsMap
    rate_per_s: float | None
    window: Window
    process: Process = Process.POISSON
    instants: tuple[float, ...] = ()
    engine_model: EngineModel = field(default_factory=EngineModel)
    plan_interval_s: float | None = None
    faults: FaultModel = field(default_factory=FaultModel)


def run(
    experiment: Experiment,
    policy: SimulatedPolicy,
    seed: int,
    progress: Progress | None = None,
    recorder: Recorder | None = None,
    snapshots: SnapshotRecorder | None = None,
) -> Result:
    """The result of one seed, JSON-able; all but ``stages_per_s`` is the same whenever it is run.

    ``progress`` is told the share that is done now and then, ``recorder`` everything that happens; ``snapshots`` keeps
    what there is to plan.
    """
    settings = settings_of(experiment.scenario)
    starts = policy.start_order(settings.core.starts)
    config = replace(settings.core, dispatch=policy.dispatch, starts=starts)
    if experiment.plan_interval_s is not None:
        config = replace(config, min_plan_interval_s=experiment.plan_interval_s)
    planner = None
    if policy.dispatch is None:
        planner = _planner(policy, settings.planner, snapshots if policy.places_stages else None)
    simulation = Simulation(
        config,
        partial(policy.predictor, settings.predictor),
        planner,
        experiment.engine_model,
        seed,
        clients=policy.clients(),
        faults=faults(experiment.faults, config.fleet, seed),
        recorder=recorder,
    )
    if recorder is not None:
        recorder.run(seed, policy.name, config.fleet)
    if snapshots is not None and not policy.places_stages:
        snapshots.watch(simulation)
    source = _arrivals(experiment, policy, seed, settings.core.reference_kind)
    began_s = time.perf_counter()
    simulation.run(source, experiment.window, progress)
    return _result(simulation, seed, time.perf_counter() - began_s)


def _planner(policy: SimulatedPolicy, settings: PlannerConfig, snapshots: SnapshotRecorder | None) -> ChargedPlanner:
    config = policy.planner_config(settings)
    if snapshots is None:
        return ChargedPlanner(config, policy.plans_by)
    return RecordedPlanner(config, policy.plans_by, recorder=snapshots)


def _arrivals(experiment: Experiment, policy: SimulatedPolicy, seed: int, reference_kind: str) -> Iterator[Arrival]:
    model = WorkloadModel(
        experiment.templates,
        experiment.models_map,
        experiment.scenario.model_specs,
        reference_kind,
        experiment.engine_model,
        tells_truth=policy.knowledge == "true",
    )
    if experiment.instants or experiment.rate_per_s is None:
        instants = replayed(experiment.instants, experiment.rate_per_s)
    else:
        random = Random(f"arrivals/{seed}")  # noqa: S311 - a simulation, no secret
        instants = arrivals(experiment.process, experiment.rate_per_s, random)
    return workflows(model, instants, seed)


def _result(simulation: Simulation, seed: int, wall_s: float) -> Result:
    tally, now_s = simulation.tally, simulation.events.now
    return {
        "seed": seed,
        "workflows": tally.workflows,
        "attainment": tally.attainment(),
        "stages": simulation.stages,
        "stages_per_s": simulation.stages / wall_s if wall_s > 0 else 0.0,
        "simulated_s": now_s,
        "kv_reserved_gib_s": tally.reserved_gib_s,
        "kv_used_gib_s": simulation.used_gib_s(),
        "overflow_rate": tally.overflows / max(1, tally.calls),
        "preemptions": simulation.preemptions(),
        "swaps": tally.swaps,
        "cold_starts": tally.cold_starts,
        "warm_starts": tally.warm_starts,
        "load_s": tally.load_s,
        "plan_sources": _counts(tally.plan_sources),
        "fallbacks": _counts(tally.fallbacks),
        "refusals": tally.refusals,
        "failures": tally.failures,
        "engine_faults": tally.engine_faults,
        "node_faults": tally.node_faults,
        "solver_cpu_s": tally.solver_s,
        "throughput_tokens_per_s": (tally.prompt_tokens + tally.output_tokens) / now_s if now_s > 0 else 0.0,
        "latency_s": tally.latency_s(),
    }


def _counts(found: Mapping[str, int]) -> dict[str, int]:
    return {str(name): found[name] for name in sorted(found)}
