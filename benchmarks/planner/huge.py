"""Plan very large snapshots within short limits, and print when there was a first plan and what the last one does.

    python benchmarks/planner/huge.py --seeds 2

4,600 stages on 64 accelerators in 4 clusters, and 5,000 on 4, 16 models each.
"""

from __future__ import annotations

import argparse
import sys
import time

from maestro.plan import Plan
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import generate
from maestro_solver.warm import warm

SIZES = ((4600, 64), (5000, 4))
SOON_S = 10.0


def main() -> int:
    """Run what the arguments say; 0 if the checker passes every plan and none is late."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limits", type=float, nargs="+", default=[2.0, 0.5], help="seconds")
    arguments = parser.parse_args()
    warm()
    runs = [
        _run(stages, accelerators, seed, limit_s)
        for seed in range(arguments.seeds)
        for stages, accelerators in SIZES
        for limit_s in arguments.limits
    ]
    return 0 if all(runs) else 1


def _run(stages: int, accelerators: int, seed: int, limit_s: float) -> bool:
    """Plan one snapshot; whether the plan is valid and in time."""
    snapshot = generate("huge", stages, accelerators, seed)
    moments_s: list[float] = []

    def note(_: Plan) -> None:
        moments_s.append(time.monotonic() - began_s)

    began_s = time.monotonic()
    found = plan(snapshot, PlannerConfig(limit_s=limit_s, workers=2), time.monotonic, on_incumbent=note)
    took_s = time.monotonic() - began_s
    broken = check(snapshot, found)
    soon = sum(assignment.start_s < SOON_S for assignment in found.assignments)
    print(
        f"{stages} stages, {accelerators} accelerators, seed {seed}, limit {limit_s:g} s: first plan after"
        f" {min(moments_s, default=took_s):.2f} s, last after {took_s:.2f} s; {len(found.assignments)} stages planned,"
        f" {soon} of them within {SOON_S:g} s; objective {found.provenance.objective:.0f}, portfolio"
        f" {found.provenance.portfolio_objective:.0f}, gained by {_gains(found)};"
        f" {'checked' if not broken else broken[0]}"
    )
    return not broken and took_s <= limit_s


def _gains(found: Plan) -> str:
    """What each part of the planner has lowered the objective by."""
    return ", ".join(f"{part} {gain:.0f}" for part, gain in found.provenance.gains.items()) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
