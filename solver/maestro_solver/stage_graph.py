"""The waiting stages as a graph: their order, what holds some of them back for good, and the paths behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import networkx as nx

from maestro.errors import InvalidInputError
from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey, WaitingStage


def topological_order(snapshot: Snapshot) -> tuple[WaitingStage, ...]:
    """The waiting stages, each behind its waiting predecessors. Raises InvalidInputError where they form a circle."""
    stages = {stage.key: stage for stage in snapshot.waiting}
    graph: nx.DiGraph[StageKey] = nx.DiGraph()
    graph.add_nodes_from(stages)
    for stage in snapshot.waiting:
        graph.add_edges_from((key, stage.key) for key in stage.predecessors if key in stages)
    try:
        return tuple(stages[key] for key in nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        circle = " -> ".join(str(edge[0]) for edge in nx.find_cycle(graph))
        raise InvalidInputError("waiting", f"predecessors form a circle: {circle}") from None


def spread_obstacles(
    order: Sequence[WaitingStage], homeless: Mapping[StageKey, Reason], running: Collection[StageKey]
) -> dict[StageKey, Reason]:
    """Why some stages can never be planned.

    ``homeless`` are those that nothing can hold. All that comes after them waits for predecessors, as does a stage
    whose predecessor neither waits nor runs in the snapshot (it was omitted).
    """
    known = {stage.key for stage in order} | set(running)
    found: dict[StageKey, Reason] = {}
    for stage in order:
        if any(before in found or before not in known for before in stage.predecessors):
            found[stage.key] = Reason.WAITING_FOR_PREDECESSORS
        elif stage.key in homeless:
            found[stage.key] = homeless[stage.key]
    return found


def least_tails(order: Sequence[WaitingStage], durations: Mapping[StageKey, int]) -> dict[StageKey, int]:
    """The least time from each stage's start to its workflow's end, in the unit of ``durations``."""
    tails: dict[StageKey, int] = {}
    after: dict[StageKey, int] = defaultdict(int)
    for stage in reversed(order):
        tails[stage.key] = durations[stage.key] + after[stage.key]
        for before in stage.predecessors:
            after[before] = max(after[before], tails[stage.key])
    return tails
