"""How long a workflow will still take, as a distribution, by sampling its graph.

The longest of several branches takes longer than the longest of their means, so means along the critical path are too
short; sampling every stage and taking each sample's own critical path is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from maestro.errors import InvalidInputError

Seconds = NDArray[np.float64]

SecondsAt = Callable[[Seconds], Seconds]
"""Turns shares, each 0 to 1, into the seconds that a stage takes at most with that probability."""


def sampled_remaining_s(
    graph: nx.DiGraph[str], unfinished: Mapping[str, SecondsAt], samples: int, seed: int
) -> Seconds:
    """Return ``samples`` times, seconds, that the unfinished stages of a workflow may take, places being free.

    ``graph`` has an edge from each predecessor to its successor; its stages that are not in ``unfinished`` have ended.
    Stages are taken as independent of each other. The same seed gives the same samples.
    Raises InvalidInputError for a cycle, no samples, or an unfinished stage that the graph does not hold.
    """
    if samples < 1:
        raise InvalidInputError("samples", "must be 1 or more", value=samples)
    unknown = [stage for stage in unfinished if stage not in graph]
    if unknown:
        raise InvalidInputError("unfinished", "names stages that the graph does not hold", value=unknown)
    try:
        order = list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        raise InvalidInputError("stages", "depend on each other in a cycle", remedy="remove a dependency") from None
    generator = np.random.default_rng(seed)
    ends: dict[str, Seconds] = {}
    latest = np.zeros(samples)
    for stage in order:
        if stage not in unfinished:
            continue
        begin = np.zeros(samples)
        for before in graph.predecessors(stage):
            if before in ends:
                begin = np.maximum(begin, ends[before])
        ends[stage] = begin + unfinished[stage](generator.random(samples))
        latest = np.maximum(latest, ends[stage])
    return latest
