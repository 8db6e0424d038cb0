"""Exchange between clusters: every stage may go to any accelerator on which the best plan so far has its model.

A workflow that was tied to one cluster waits there, or has a model loaded, while the same model stands idle in another
cluster. The best plan so far has decided which models are where; laid out and placed anew with these places, stages
move to whichever cluster serves them soonest, and few places a stage make the key search fast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from maestro_solver.discretize import discretize
from maestro_solver.heuristics.list_scheduler import order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate
from maestro_solver.planner.portfolio import Start, ranked
from maestro_solver.search.layout import Layout, lay_out
from maestro_solver.shop.annealing import FIRST
from maestro_solver.shop.decoder import order_by_key
from maestro_solver.stage_options import Ties

EXCHANGE = "exchange"

_PATIENCE = 1.0
"""How many load times a stage rather waits for a replica that is there."""

_POLICY = POLICIES["llf+hopeless_last"]


def open_clusters(instance: Instance, best: Candidate) -> Layout | None:
    """The instance's stages with all places in any cluster where the best plan has their model at some time.

    None where that cannot be laid out.
    """
    snapshot, grid = instance.snapshot, instance.grid
    horizon_s = grid.seconds(instance.horizon)
    return lay_out(discretize(snapshot, grid, horizon_s, Ties(hosts=hosts_of(best))))


def hosts_of(best: Candidate) -> Mapping[int, Collection[int]]:
    """By model, the accelerators that have it at some time."""
    hosts: dict[int, set[int]] = defaultdict(set)
    for found in best.complete.residents:
        hosts[found.model].add(found.accelerator)
    return hosts


def starts_in(layout: Layout, best: Candidate) -> Iterator[Start]:
    """What is worth placing there: the order of laxity, which mostly is better, and that of the plan's starts."""
    keys = order_keys(layout.instance, _POLICY)
    yield Start(order_by_key(layout.shop, ranked(keys)[layout.positions]), _PATIENCE)
    spans, positions = best.complete.spans, layout.positions.tolist()
    if all(position in spans for position in positions):
        starts = np.array([spans[position].start for position in positions], dtype=np.float64)
        yield Start(order_by_key(layout.shop, starts - FIRST * layout.shop.stage_first), _PATIENCE)
