"""One simulation in a process of its own: ``python -m benchmarks.simulator_speed.one_run SCENARIO POLICY RATE STAGES``.

Prints a line of JSON. A process of its own, since its peak of memory is the process's.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from maestro.scenario import load
from maestro_services.simulation.experiment import Experiment, run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.workload.families import family
from maestro_services.simulation.workload.models_map import spread
from maestro_services.simulation.world import Window

SCENARIOS = Path(__file__).parents[2] / "scenarios"
FAMILY = "agents"
UNLIMITED_S = 1e9


def experiment(scenario: str, rate_per_s: float, stages: int) -> Experiment:
    """About so many stages of the family ``agents`` on a shipped scenario's fleet, at a rate of workflows a second."""
    loaded, templates = load(SCENARIOS / f"{scenario}.yaml"), family(FAMILY)
    mean = sum(len(template.stages) for template in templates) / len(templates)
    window = Window(UNLIMITED_S, max(1, round(stages / mean)))
    return Experiment(loaded, templates, spread(templates, loaded.model_specs), rate_per_s, window)


def measure(scenario: str, policy: str, rate_per_s: float, stages: int) -> dict[str, object]:
    """Speed by the wall clock and by the processor's time, and the peak of memory before and after the run."""
    made = experiment(scenario, rate_per_s, stages)
    before_mib, wall_s, cpu_s = _peak_mib(), time.perf_counter(), time.process_time()
    result = run(made, policy_named(policy), 1)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return {
        "scenario": scenario,
        "policy": policy,
        "rate_per_s": rate_per_s,
        "stages": result["stages"],
        "simulated_s": result["simulated_s"],
        "attainment": result["attainment"]["overall"],
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "stages_per_s": result["stages"] / wall_s,
        "stages_per_cpu_s": result["stages"] / cpu_s,
        "peak_mib": _peak_mib(),
        "peak_before_mib": before_mib,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))))
