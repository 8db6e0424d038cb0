"""The arrays that compiled code reads and writes.

All arrays are C-contiguous, int64 (``Integers``) or float64 (``Reals``); times are ticks, memory is in units of the
caller's grid. Index spaces, with the letter that stands for their size: stages S, numbered so that each stands after
its predecessors; options O, one for every way to run a stage; workflows W; accelerators G; models M; clusters C; links
L. Lists are compressed sparse rows: the entries of row ``i`` are ``values[offsets[i] : offsets[i + 1]]``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maestro_solver.shop.compiled import constant

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

NEVER: Final = constant(2**60)
FAR: Final = constant(2**40)
"""A tick after everything; what holds memory until then holds it for good."""

CANNOT: Final = constant(-1)
"""The load time of a model that cannot be loaded."""

NO_PEER: Final = constant(-1)
"""In place of an accelerator."""

NOT_PLACED: Final = constant(-1)
EXTERNAL: Final = constant(-2)
"""In place of an option: a tool stage, which runs on no accelerator."""


class Timeline(NamedTuple):
    """What has been committed; arrays are sized for the worst case and filled from the front.

    ``steps`` (G, steps, 3) with ``step_count`` (G,) is the use of the accelerators; ``replica_steps`` (G, M, steps, 3)
    with ``replica_step_count`` (G, M) that of replicas whose pool or batch binds, 0 steps for others. ``rows``
    (rows, 5) are residencies, chained by NEXT in order of time from ``first_row`` (G, M), with ``row_count`` the number
    of rows ever used and the first free one among them. ``loads`` (L, loads, 2) are the sorted (begin, end) of what
    loads take of the links, with ``load_count`` (L,), and ``begun`` (G, M) how many loads there are of each model.
    ``stage_count`` (G,) counts the stages on each accelerator, plus one where it is in use by itself; ``in_use``
    (C + 1,) the accelerators in use by cluster and in all. ``option``, ``start`` and ``end`` (S,) say how and when each
    stage runs.
    """

    steps: Integers
    step_count: Integers
    replica_steps: Integers
    replica_step_count: Integers
    rows: Integers
    row_count: Integers
    first_row: Integers
    loads: Integers
    load_count: Integers
    begun: Integers
    stage_count: Integers
    in_use: Integers
    option: Integers
    start: Integers
    end: Integers


class Shop(NamedTuple):
    """One problem. Shapes stand in brackets."""

    stage_workflow: Integers
    """(S,)"""
    stage_tail: Integers
    """(S,) The least time from a stage's start to its workflow's end."""
    stage_rest: Integers
    """(S,) The least time from a stage's end to its workflow's end."""
    stage_release: Integers
    """(S, C + 1) The earliest start by cluster, other stages of the shop left out; the last entry is for tools."""
    stage_first: Integers
    """(S,) 1 for a stage without predecessors that is placed before all others and not moved again."""
    stage_external: Integers
    """(S,) A tool stage's duration; negative for a stage that runs on an accelerator."""
    option_offsets: Integers
    """(S + 1,)"""
    option_accelerator: Integers
    """(O,) As are the five that follow."""
    option_model: Integers
    option_duration: Integers
    option_cost: Reals
    """What choosing it adds to the objective."""
    option_kv: Integers
    """Device memory that is taken while the stage runs."""
    option_pool: Integers
    """What is taken of the replica's fixed pool instead."""
    predecessor_offsets: Integers
    """(S + 1,)"""
    predecessors: Integers
    workflow_stage_offsets: Integers
    """(W + 1,)"""
    workflow_stages: Integers
    """Predecessors first."""

    cluster: Integers
    """(G,)"""
    link: Integers
    """(G,) Loads on one link do not overlap."""
    memory: Integers
    """(G,)"""
    slots: Integers
    """(G,)"""
    held: Integers
    """(G, M) What a replica holds of the memory, its pool included."""
    load: Integers
    """(G, M) CANNOT where the model cannot be loaded."""
    link_time: Integers
    """(G, M) How long a load takes the link, from its begin; at most as long as the load."""
    load_cost: Reals
    """(G, M) What one load adds to the objective."""
    loads_wanted: Integers
    """(G, M) So many loads should be begun; each that is not costs ``unloaded_cost``."""
    unloaded_cost: float
    first_load: Integers
    """(G, M) The earliest begin of a load."""
    idle: Integers
    """(G, M) Before this tick the replica that is there at the start does not leave."""
    pinned: Integers
    """(G, M) 1 where a replica never leaves."""
    peers: Integers
    """(G, M, most of a replica) The further accelerators that a replica takes as much of as of the one that names it.

    NO_PEER fills each row up.
    """
    named_by: Integers
    """(G, M) The accelerator that names the replica of a model that takes this one; most name their own."""
    limited: Integers
    """(G, M) 1 where the batch or the pool of a replica binds before the accelerator does."""
    batch: Integers
    """(G, M)"""
    pool: Integers
    """(G, M)"""

    deadline: Integers
    """(W,) The last tick that is on time; may be negative."""
    least: Integers
    """(W,) No workflow ends before."""
    weight: Reals
    """(W,)"""
    late_cost: Reals
    """(W,)"""
    tardy_cost: Reals
    """(W,) Per tick."""
    latency_cost: Reals
    """(W,) Per tick."""
    tardy_cap: float
    """Ticks."""
    network_delay: int
    """Ticks between a stage's end and the start of its successor in another cluster."""
    crossing_cost: float
    """What each such hand-over adds to the objective."""
    use_cost: float
    """What each accelerator in use adds to the objective."""
    budget: Integers
    """(C + 1,) How many accelerators may be in use, by cluster and in all."""
    budget_binds: int
    """0 where all of them may be."""

    base: Timeline
    """What is there before any stage is placed."""
