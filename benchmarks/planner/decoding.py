"""Measure the portfolio's list scheduler: how many stages a second it places on contended snapshots.

    python benchmarks/planner/decoding.py --seeds 10

One thread decodes the order of every policy in every manner that the compiled list scheduler knows, again and again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.heuristics.list_scheduler import order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.planner.generate import generate
from maestro_solver.planner.portfolio import MANNERS, ranked
from maestro_solver.search.layout import Layout, lay_out
from maestro_solver.shop.decoder import decode_whole, order_by_key
from maestro_solver.shop.timeline import like, timeline_at
from maestro_solver.warm import warm

HORIZON_S = 120.0
FAMILIES = ("contended-1", "contended-2", "contended-3", "large")


def main() -> int:
    """Print the median rate of every family and its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=10, help="snapshots a family")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warm()
    for family in arguments.families:
        rates = [_rate(family, seed, arguments.rounds) for seed in range(arguments.seeds)]
        print(f"{family}: {statistics.median(rates):,.0f} stages/s ({min(rates):,.0f} to {max(rates):,.0f})")
    return 0


def _rate(family: str, seed: int, rounds: int) -> float:
    """Stages placed a second on one snapshot, over all orders."""
    snapshot = generate(family, seed=seed)
    instance = discretize(snapshot, Grid.suited(snapshot), HORIZON_S)
    layout = lay_out(instance)
    if layout is None:
        raise SystemExit(f"a snapshot of {family} cannot be laid out")
    keys = [ranked(order_keys(instance, policy))[layout.positions] for policy in POLICIES.values()]
    orders = [order_by_key(layout.shop, key) for key in keys]
    began_s = time.perf_counter()
    for _ in range(rounds):
        for order in orders:
            for patience in [manner.patience for manner in MANNERS if not manner.batched]:
                _decode(layout, order, patience)
    placed = rounds * len(orders) * sum(not manner.batched for manner in MANNERS) * layout.positions.size
    return placed / (time.perf_counter() - began_s)


def _decode(layout: Layout, order: np.ndarray[tuple[int], np.dtype[np.int64]], patience: float) -> float:
    completion = np.zeros(layout.shop.deadline.size, dtype=np.int64)
    return decode_whole(layout.shop, timeline_at(like(layout.shop, 1), 0), order, patience, completion, np.inf)


if __name__ == "__main__":
    sys.exit(main())
