"""A run that no engine has seen: calls as engines of known speeds would have answered them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks.simulator.engine_replay import EngineCall, simulated, with_speeds
from benchmarks.simulator.run_folder import Load, Observation, RunFolder
from benchmarks.simulator.workload import APP, WARM_UP_APP
from maestro.fleet import SpeedCoefficients
from maestro.trace import TraceCall, TraceFile

SCENARIOS = Path(__file__).parents[2] / "benchmarks" / "simulator"
APART = {"smollm2-writer": "left-cpu", "smollm2-critic": "right-cpu"}
TOGETHER = dict.fromkeys(APART, "only-cpu")
TRUE = SpeedCoefficients(
    800.0, 40.0, batch_slope=0.2, colocation_slope=0.5, start_s=0.0, prefill_overhead_s=0.05, prefill_stall=0.7
)
LOAD_S = 30.0

Places = Mapping[str, str]
"""The accelerator that each model runs on."""


def made_up_run(folder: Path, workflows: int = 120, places: Places = APART) -> RunFolder:
    """A run of workflows of one call each, on engines that are as ``TRUE`` says and loaded after ``LOAD_S``."""
    run = RunFolder(folder)
    folder.mkdir()
    run.write_scenario(SCENARIOS / ("two_engines.yaml" if places == APART else "co_located.yaml"))
    specs = with_speeds(run.scenario().model_specs, "cpu-core", dict.fromkeys(places, TRUE))
    accelerators = {
        spec.name: spec
        for cluster in run.scenario().fleet_spec().clusters
        for node in cluster.nodes
        for spec in node.accelerators
    }
    calls = simulated(_calls(places, workflows, Random(1)), accelerators, specs)
    with TraceFile(run.recording_file) as trace:
        for number, (model, place) in enumerate(places.items()):
            trace.append((_traced(_call(model, place, 0.0, 20, 8), f"warm-up {model}", LOAD_S, WARM_UP_APP),), number)
        for number, call in enumerate(calls):
            trace.append((_traced(call, f"w{number}", 0.0, APP),), number + len(places))
    run.keep_trace()
    loads = tuple(Load(model, place, LOAD_S) for model, place in places.items())
    run.write_observation(Observation(1, workflows, 1.0, "a day", "a machine", loads))
    return run


def _calls(places: Places, workflows: int, random: Random) -> list[EngineCall]:
    at_s, made = 2 * LOAD_S, []
    for _ in range(workflows):
        at_s += random.expovariate(0.5)
        model, place = random.choice(list(places.items()))
        made.append(_call(model, place, at_s, random.randint(50, 400), random.randint(10, 90)))
    return made


def _call(model: str, place: str, sent_s: float, prompt: int, output: int) -> EngineCall:
    return EngineCall(model, place, prompt, output, sent_s, sent_s + 1.0, sent_s + 2.0)


def _traced(call: EngineCall, name: str, start_s: float, app: str) -> TraceCall:
    found = TraceCall(name, app, 0, "call", "", call.model, call.prompt_tokens, call.output_tokens)
    return replace(
        found,
        arrival_s=call.sent_s,
        ready_s=0.0,
        start_s=start_s,
        first_token_s=start_s + call.prefill_s,
        latency_s=call.end_s - call.sent_s,
        accelerator=call.accelerator,
        max_tokens=call.output_tokens,
        slo_class="standard",
    )
