"""Speed and memory of the simulator on one core: ``python -m benchmarks.simulator_speed [--stages N ...]``.

Policies in their incremental form, the synthetic family ``agents``, arrivals that the fleet can serve. On the large
fleet a million stages take 17 hours of virtual time: more than a million a day.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RATES_PER_S = {"one_node_4x80gb": 0.45, "two_clusters_mixed": 0.5, "four_clusters_64": 2.4}
"""Workflows a second, of 6.7 stages on average."""

STAGES = (10_000, 100_000)
POLICIES = ("fcfs", "edf", "wspt")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stages", type=int, nargs="+", default=STAGES)
    parser.add_argument("--policy", nargs="+", default=POLICIES)
    parser.add_argument("--scenario", nargs="+", choices=RATES_PER_S, default=["one_node_4x80gb", "four_clusters_64"])
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rows = [
        _in_a_process(scenario, policy, stages)
        for scenario in options.scenario
        for policy in options.policy
        for stages in options.stages
    ]
    Console(width=120).print(_table(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _in_a_process(scenario: str, policy: str, stages: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.simulator_speed.one_run", scenario, policy]
    command += [str(RATES_PER_S[scenario]), str(stages)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "fleet",
        "policy",
        "stages",
        "attained",
        "seconds",
        "stages/s",
        "per CPU second",
        "peak MiB",
        "of the run",
    )
    table = Table(*columns)
    for row in rows:
        table.add_row(
            row["scenario"],
            row["policy"],
            f"{row['stages']:,}",
            f"{row['attainment']:.1%}",
            f"{row['wall_s']:.1f}",
            f"{row['stages_per_s']:.0f}",
            f"{row['stages_per_cpu_s']:.0f}",
            f"{row['peak_mib']:.0f}",
            f"{row['peak_mib'] - row['peak_before_mib']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
