"""Simulates a recorded run: the same workflows at the same instants, on engines of a calibrated model."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random

from benchmarks.simulator.measured import Measured, averaged, compared, measured
from benchmarks.simulator.run_folder import RunFolder
from benchmarks.simulator.workload import WARM_UP_APP
from maestro.scenario import Scenario, load
from maestro.trace import TraceCall
from maestro.workflow import LlmStage, Sampling, WorkflowSpec
from maestro_services.scheduler.settings import settings_of
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.prompts import SizedStage
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.workload.truth import Arrival, Truth
from maestro_services.simulation.world import Simulation, Window
from maestro_solver.predictor import LengthPredictor

UNLIMITED_S = 1e9

Comparison = dict[str, dict[str, float]]


def replay(
    run: RunFolder, against: RunFolder | None, seeds: int, show: Callable[[float], None]
) -> dict[str, Comparison]:
    """The errors of the simulator on the part of a run that nothing was fitted to, and the spread of two real runs.

    ``simulated``: the mean over ``seeds``; ``second_run``: ``against``, a further run of the same workload, in place of
    the simulation. ``show`` is told the share that is done.
    """
    calibration = run.read_json("calibration.json", "calibrate")
    ranks = _ranks(run.calls())
    wanted = {workflow: ranks[workflow] for workflow in run.validated(calibration["share"])}
    real = measured(run.calls(), wanted)
    comparisons = []
    for seed in range(1, seeds + 1):
        made = simulated(run, EngineModel(**calibration["noise"]), seed, wanted)
        comparisons.append(compared(real, made))
        show(seed / seeds)
    found = {"simulated": averaged(comparisons)}
    if against is not None:
        there = {workflow: rank for workflow, rank in _ranks(against.calls()).items() if rank in set(wanted.values())}
        found["second_run"] = compared(real, measured(against.calls(), there))
    return found


def simulated(run: RunFolder, noise: EngineModel, seed: int, wanted: dict[str, int]) -> Measured:
    """What the workflows ``wanted``, given with their ranks, take in a simulation of the whole run."""
    scenario = load(run.calibrated_file)
    settings = settings_of(scenario)
    sink = io.StringIO()
    simulation = Simulation(
        settings.core,
        lambda _: LengthPredictor(settings.predictor),
        ChargedPlanner(settings.planner),
        noise,
        seed,
        recorder=Recorder(sink),
    )
    arriving = list(arrivals(run.calls(), scenario, noise, seed))
    simulation.run(iter(arriving), Window(UNLIMITED_S, len(arriving)))
    return _measured(sink.getvalue().splitlines(), wanted)


def arrivals(calls: Sequence[TraceCall], scenario: Scenario, noise: EngineModel, seed: int) -> Iterator[Arrival]:
    """The workflows of a trace as they were submitted, with the lengths that they turned out to have."""
    random = Random(f"replay/{seed}")
    workflows: dict[str, list[TraceCall]] = defaultdict(list)
    for call in calls:
        workflows[call.workflow_id].append(call)
    for name, members in sorted(workflows.items(), key=lambda found: found[1][0].arrival_s or 0.0):
        slo_class = members[0].slo_class or scenario.default_slo_class
        spec = WorkflowSpec(members[0].app, tuple(_stage(call, members) for call in members), slo_class=slo_class)
        truths = {f"s{call.step}": _truth(call, noise, random) for call in members}
        yield Arrival(name, members[0].arrival_s or 0.0, spec, truths, UNLIMITED_S)


def _stage(call: TraceCall, workflow: Sequence[TraceCall]) -> LlmStage:
    """A stage of known size whose length was forced, so that no predictor learns from it."""
    quoted = sum(parent.completion_tokens for parent in workflow if parent.step in call.parents)
    return SizedStage(
        id=f"s{call.step}",
        role=call.role,
        models=(call.model,),
        messages=(),
        max_tokens=call.max_tokens or call.completion_tokens,
        after=tuple(f"s{step}" for step in call.parents),
        phase=call.phase,
        sampling=Sampling(min_tokens=call.completion_tokens, ignore_eos=True),
        own_tokens=max(1, call.prompt_tokens - quoted),
        prompt_tokens=call.prompt_tokens,
    )


def _truth(call: TraceCall, noise: EngineModel, random: Random) -> Truth:
    return Truth(
        prompt_tokens=call.prompt_tokens,
        output_tokens=call.completion_tokens,
        prefill_factor=random.lognormvariate(0.0, noise.prefill_noise),
        decode_factor=random.lognormvariate(0.0, noise.decode_noise),
    )


def _measured(lines: Sequence[str], wanted: dict[str, int]) -> Measured:
    """What a record of a simulation tells of some workflows."""
    found, tokens = Measured(), 0
    first_s, last_s = float("inf"), 0.0
    for line in map(json.loads, lines):
        rank = wanted.get(line.get("workflow", ""))
        if rank is None:
            continue
        if line["event"] == "attempt" and line["state"] == "succeeded":
            step = int(line["stage"].removeprefix("s"))
            found.count_call((rank, step), line["ready_s"], line["first_token_s"], line["end_s"])
            tokens += line["output_tokens"]
        elif line["event"] == "workflow":
            found.seconds["workflow latency"][rank,] = line["end_s"] - line["arrival_s"]
            first_s, last_s = min(first_s, line["arrival_s"]), max(last_s, line["end_s"])
    found.tokens_per_s = tokens / (last_s - first_s)
    return found


def _ranks(calls: Sequence[TraceCall]) -> dict[str, int]:
    """The workload's workflows by their order of arrival: it is the same in every run of the workload."""
    arrived = dict.fromkeys(call.workflow_id for call in calls if call.app != WARM_UP_APP)
    return {workflow: rank for rank, workflow in enumerate(arrived)}
