"""Whether results are what they were: ``python -m benchmarks.simulator_speed.same_results keep|compare FILE``.

To be kept before a change that is only to make things faster, and compared after it: results of a few seeds on three
fleets under policies of every kind, but for what the wall clock says. ``compare`` ends with 1 where any differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.simulator_speed.one_run import experiment
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named

RUNS = (
    *(("one_node_4x80gb", policy, 0.7, 1500) for policy in ("fcfs", "edf", "wspt", "kairos", "hierarchical", "plas")),
    *(("two_clusters_mixed", policy, 1.0, 1500) for policy in ("edf", "lru-swap")),
    ("four_clusters_64", "edf", 5.0, 2500),
    ("one_node_4x80gb", "edf", 0.05, 500),
    ("one_node_4x80gb", "planner", 0.5, 200),
)
"""Scenario, policy, workflows a second, stages."""


def main(action: str, file: Path) -> int:
    """Keep or compare; returns the exit code."""
    found = {" ".join(map(str, made)): _result(*made) for made in RUNS}
    if action == "keep":
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        return 0
    kept = json.loads(file.read_text())
    different = [name for name, result in found.items() if kept.get(name) != json.loads(json.dumps(result))]
    print(f"{len(found) - len(different)} results are the same", *(f"differs: {name}" for name in different), sep="\n")
    return 1 if different else 0


def _result(scenario: str, policy: str, rate_per_s: float, stages: int) -> dict[str, Any]:
    result = run(experiment(scenario, rate_per_s, stages), policy_named(policy), 1)
    return {name: value for name, value in result.items() if name != "stages_per_s"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
