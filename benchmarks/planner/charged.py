"""Replay simulated minutes and print what plans really take beside what the simulator charges for them.

    python benchmarks/planner/charged.py --decides residency
    python benchmarks/planner/charged.py --decides stages --rate 0.3 --duration 200

The simulator bounds the solver in its deterministic time, so that a seed gives one answer, and charges every plan its
whole limit (``maestro_services.simulation.planner``). Taken is processor time
of one thread, which a busy machine changes less than it changes the clock.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from replay import Run, replay, run_options

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_services.simulation.planner import ChargedPlanner

PERCENTILES = (10, 50, 90, 99)


@dataclass(frozen=True)
class TimedPlanner(ChargedPlanner):
    """Keeps of each plan (seconds charged, seconds taken)."""

    seconds: list[tuple[float, float]] = field(default_factory=list)

    def plan(self, snapshot: Snapshot) -> tuple[Plan, float]:
        """The plan, as the simulation would have it without this."""
        began_s = time.process_time()
        made, charged_s = super().plan(snapshot)
        self.seconds.append((charged_s, time.process_time() - began_s))
        return made, charged_s


def main() -> int:
    """Run what the arguments say; 0 if plans take at most what is charged for them on average."""
    arguments = run_options(__doc__).parse_args()
    run = Run(arguments.decides, arguments.seed, arguments.rate, arguments.duration)
    seconds = np.array(replay(run, TimedPlanner).seconds[1:])  # the first one loads compiled code
    ratio = seconds[:, 1] / seconds[:, 0]
    figures = {
        "decides": arguments.decides,
        "plans": len(seconds),
        "charged_s": _percentiles(seconds[:, 0]),
        "taken_s": _percentiles(seconds[:, 1]),
        "taken_of_charged": _percentiles(ratio),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0 if ratio.mean() <= 1.0 else 1


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 4) for share in PERCENTILES}


if __name__ == "__main__":
    sys.exit(main())
