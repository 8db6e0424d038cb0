"""Replay ten simulated minutes, plan every snapshot twice with no event in between, and print how much changes.

    python benchmarks/planner/churn.py --decides residency
    python benchmarks/planner/churn.py --decides stages --rate 0.3

Every plan that the simulated scheduler asks for is put in force, half a second passes in which only what it orders
happens, and another one is made. Counted are the decisions of the first that are still to be carried out by then:
places of stages, and where plans decide residency alone, which models stay where. ``--churn 0`` shows what the plan in
force does for it by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from later import moments_later, still_to_do
from replay import Run, replay, run_options

from maestro.plan import Plan
from maestro.snapshot import Snapshot
from maestro_services.simulation.planner import ChargedPlanner

AFTER_S = 0.5
"""Seconds between a plan and the next."""


@dataclass(frozen=True)
class TwicePlanner(ChargedPlanner):
    """Makes every plan once more, a moment later, and keeps of each pair (decisions, those that changed)."""

    pairs: list[tuple[int, int]] = field(default_factory=list)

    def plan(self, snapshot: Snapshot) -> tuple[Plan, float]:
        """The first plan, as the simulation would have it without this."""
        made, seconds = super().plan(snapshot)
        again, _ = super().plan(moments_later(snapshot, made, AFTER_S))
        before, after = still_to_do(snapshot, made, AFTER_S), still_to_do(snapshot, again, 0.0)
        self.pairs.append((len(before), len(before - after)))
        return made, seconds


def main() -> int:
    """Run what the arguments say; 0 if at most 5 % of all decisions change."""
    arguments = _arguments()
    run = Run(arguments.decides, arguments.seed, arguments.rate, arguments.duration, arguments.churn)
    pairs = replay(run, TwicePlanner).pairs
    figures = figures_of(pairs)
    sys.stdout.write(json.dumps({"decides": arguments.decides, **figures}, indent=2) + "\n")
    return 0 if figures["changed_share"] <= 0.05 else 1


def figures_of(pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Counts, the share of all decisions that changed, and the shares of single plans."""
    shares = [changed / decisions for decisions, changed in pairs if decisions]
    decisions, changed = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    return {
        "plans": len(pairs),
        "decisions": decisions,
        "changed": changed,
        "changed_share": changed / decisions if decisions else 0.0,
        "median_share": statistics.median(shares) if shares else 0.0,
        "largest_share": max(shares, default=0.0),
        "plans_without_change": sum(not share for share in shares),
    }


def _arguments() -> argparse.Namespace:
    parser = run_options(__doc__)
    parser.add_argument("--churn", type=float, help="weight of churn, in place of the scenario's")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
