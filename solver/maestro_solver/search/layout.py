"""An instance laid out as a shop: the same stages, residencies, capacities and costs in flat arrays.

Left out are stages that can never be planned, and accelerators whose state the shop cannot tell: those that the
snapshot alone fills beyond a capacity, with two replicas of one model that both serve, or with a running stage of an
unknown model. They stay as they are, and nothing is placed on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from maestro_solver.cpsat.overfull import closed_accelerators, with_sharers
from maestro_solver.instance import NOWHERE, GridOption, Instance
from maestro_solver.search.replicas import Replicas
from maestro_solver.shop.data import NO_PEER, Integers, Reals, Shop, Timeline
from maestro_solver.shop.timeline import Room, begin, empty_timelines, timeline_at

_NO_TOOL: Final = -1
_NO_PLACE: Final = -1


@dataclass(frozen=True)
class Layout:
    """``positions[s]`` is the instance's position of the shop's stage s; ``options[o]`` where in that stage's options.

    ``replicas`` says what became of the snapshot's replicas. ``is_whole``: every option is in the shop.
    """

    instance: Instance
    shop: Shop
    positions: Integers
    options: Integers
    replicas: Replicas
    is_whole: bool

    def option(self, stage: int, option: int) -> GridOption:
        """The instance's option behind one of the shop's."""
        return self.instance.stages[int(self.positions[stage])].options[int(self.options[option])]


def lay_out(instance: Instance) -> Layout | None:
    """The shop of an instance; None where a stage that can be planned has no place in the shop."""
    replicas = Replicas(instance, _closed(instance))
    order = _topological(instance)
    table = _OptionTable(instance, order, replicas)
    stages = [instance.stages[position] for position in order]
    tools = np.array([_NO_TOOL if found.external is None else found.external for found in stages], dtype=np.int64)
    if bool(((table.counts == 0) & (tools == _NO_TOOL)).any()):
        return None
    at = {position: index for index, position in enumerate(order)}
    predecessors = _rows([[at[before] for before in found.predecessors] for found in stages])
    of_workflow: list[list[int]] = [[] for _ in instance.workflows]
    for index, found in enumerate(stages):
        of_workflow[found.workflow].append(index)
    workflow_stages = _rows(of_workflow)
    tails = np.array([found.tail for found in stages], dtype=np.int64)
    releases = [found.release for found in stages]
    release = np.array(releases, dtype=np.int64).reshape(len(stages), len(instance.clusters) + 1)
    workflow = np.array([found.workflow for found in stages], dtype=np.int64)
    weights, tick_s = instance.weights, instance.grid.tick_s
    peers, named_by = _peers(instance)
    weight = np.array([found.weight for found in instance.workflows], dtype=np.float64)
    budget, binds = _budget(instance)
    shop = Shop(
        stage_workflow=workflow,
        stage_tail=tails,
        stage_rest=tails - np.where(tools == _NO_TOOL, table.fastest, tools),
        stage_release=release,
        stage_first=_integers(
            position in instance.first and not instance.stages[position].predecessors for position in order
        ),
        stage_external=tools,
        option_offsets=table.offsets,
        option_accelerator=table.accelerator,
        option_model=table.model,
        option_duration=table.duration,
        option_cost=weights.churn * table.moved,
        option_kv=table.kv,
        option_pool=table.pool,
        predecessor_offsets=predecessors[0],
        predecessors=predecessors[1],
        workflow_stage_offsets=workflow_stages[0],
        workflow_stages=workflow_stages[1],
        cluster=_integers(found.cluster for found in instance.accelerators),
        link=_integers(found.node for found in instance.accelerators),
        memory=_integers(found.memory for found in instance.accelerators),
        slots=_integers(found.slots for found in instance.accelerators),
        held=replicas.held,
        load=replicas.load,
        link_time=replicas.link_time,
        load_cost=weights.swap * tick_s * np.maximum(replicas.load, 0),
        loads_wanted=replicas.loads_wanted,
        unloaded_cost=weights.churn,
        first_load=replicas.first_load,
        idle=replicas.idle,
        pinned=replicas.pinned,
        peers=peers,
        named_by=named_by,
        limited=replicas.limited,
        batch=replicas.batch,
        pool=replicas.pool,
        deadline=_integers(found.deadline for found in instance.workflows),
        least=_least(instance, workflow, release.min(axis=1, initial=np.iinfo(np.int64).max) + tails),
        weight=weight,
        late_cost=weights.late * weight,
        tardy_cost=weights.tardy * weight * tick_s,
        latency_cost=weights.latency * weight * tick_s,
        tardy_cap=weights.tardy_cap_s / tick_s,
        network_delay=instance.network_delay,
        crossing_cost=weights.network * instance.grid.seconds(instance.network_delay),
        use_cost=weights.gpu,
        budget=budget,
        budget_binds=binds,
        base=_base(instance, replicas, len(stages), table.most_in_a_replica),
    )
    return Layout(instance, shop, _integers(order), table.kept, replicas, table.is_whole)


class _OptionTable:
    """The options that the shop keeps, as arrays; ``counts`` and ``fastest`` are by stage."""

    def __init__(self, instance: Instance, order: Sequence[int], replicas: Replicas) -> None:
        options = [instance.stages[position].options for position in order]
        flat = [(found.accelerator, found.model, found.duration, found.kv) for each in options for found in each]
        table = np.array(flat, dtype=np.int64).reshape(-1, 4)
        sizes = _integers(len(each) for each in options)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        stage = np.repeat(np.arange(sizes.size), sizes)
        self.fastest = np.full(sizes.size, np.iinfo(np.int64).max)
        np.minimum.at(self.fastest, stage, table[:, 2])
        keep = table[:, 3] <= replicas.room[table[:, 0], table[:, 1]]
        table = table[keep]
        self.is_whole = bool(keep.all())
        self.counts = np.bincount(stage[keep], minlength=sizes.size)
        self.offsets: Integers = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        self.kept: Integers = (np.arange(stage.size) - starts[stage])[keep]
        self.accelerator, self.model, self.duration, kv = (np.ascontiguousarray(column) for column in table.T)
        elastic = np.array([found.elastic for found in instance.accelerators], dtype=np.bool_)
        self.kv: Integers = np.where(elastic[self.accelerator], kv, 0) if kv.size else kv
        self.pool: Integers = kv - self.kv
        pairs = self.accelerator * len(instance.models) + self.model
        self.moved = self._moved(instance, order, pairs)
        limited = bool(replicas.limited.any())
        self.most_in_a_replica = int(np.bincount(pairs).max(initial=0)) if limited and pairs.size else -1

    def _moved(self, instance: Instance, order: Sequence[int], pairs: Integers) -> Reals:
        """1 where an option is not the place that the plan in force has for its stage."""
        kept = _integers(_pair_of(instance, position) for position in order)
        place = np.repeat(kept, self.counts)
        found: Reals = ((place != _NO_PLACE) & (place != pairs)).astype(np.float64)
        return found


def _pair_of(instance: Instance, position: int) -> int:
    """The place that the plan in force has for a stage, as one number."""
    if position not in instance.kept_places:
        return _NO_PLACE
    model, accelerator = instance.kept_places[position]
    return accelerator * len(instance.models) + model


def _closed(instance: Instance) -> frozenset[int]:
    """The accelerators that the shop leaves as they are."""
    serving = Counter((found.model, found.accelerator) for found in instance.replicas if not found.draining)
    doubled = {accelerator for (_, accelerator), count in serving.items() if count > 1}
    unknown = {found.accelerator for found in instance.running if found.model == NOWHERE}
    return with_sharers(instance, closed_accelerators(instance) | doubled | unknown)


def _peers(instance: Instance) -> tuple[Integers, Integers]:
    """The further accelerators of replicas, and which one names those that take each, as the shop has them."""
    pairs = (len(instance.accelerators), len(instance.models))
    most = max((len(members) - 1 for members in instance.groups.values()), default=0)
    peers = np.full((*pairs, most), NO_PEER, dtype=np.int64)
    named_by = np.repeat(np.arange(pairs[0]), pairs[1]).reshape(pairs)
    for (model, accelerator), (_, *others) in instance.groups.items():
        peers[accelerator, model, : len(others)] = others
        named_by[others, model] = accelerator
    return peers, named_by


def _topological(instance: Instance) -> list[int]:
    """The stages without an obstacle, each behind its predecessors."""
    left = [len(stage.predecessors) for stage in instance.stages]
    order = [position for position, count in enumerate(left) if count == 0]
    for position in order:
        for after in instance.successors[position]:
            left[after] -= 1
            if left[after] == 0:
                order.append(after)
    return [position for position in order if instance.stages[position].obstacle is None]


def _budget(instance: Instance) -> tuple[Integers, int]:
    """How many accelerators may be in use by cluster and in all, and whether that is ever less than there are."""
    there = Counter(found.cluster for found in instance.accelerators)
    counts = [there[cluster] for cluster in range(len(instance.clusters))]
    limits = [
        min(count, instance.budget.per_cluster.get(name, count))
        for count, name in zip(counts, instance.clusters, strict=True)
    ]
    total = min(len(instance.accelerators), instance.budget.total)
    binds = total < len(instance.accelerators) or limits != counts
    return _integers([*limits, total]), int(binds)


def _least(instance: Instance, workflow: Integers, ends: Integers) -> Integers:
    """The first tick by which each workflow can have ended, alone; those with an obstacle wait beyond the horizon."""
    least = _integers(found.running_end for found in instance.workflows)
    np.maximum.at(least, workflow, ends)
    for stage in instance.stages:
        if stage.obstacle is not None:
            least[stage.workflow] = max(least[stage.workflow], instance.horizon + stage.tail)
    return least


def _base(instance: Instance, replicas: Replicas, stages: int, most_in_a_replica: int) -> Timeline:
    """The fleet as it is: replicas that serve, what drains, what runs, and the accelerators in use."""
    room = Room(
        stages=stages,
        accelerators=len(instance.accelerators),
        models=len(instance.models),
        clusters=len(instance.clusters),
        links=len(instance.link_free),
        residents=len(replicas.serving) + len(replicas.holds),
        replica_stages=most_in_a_replica,
    )
    line = timeline_at(empty_timelines(room, 1), 0)
    begin(line, replicas.limited, _table(replicas.serving, 5), _table(replicas.holds, 6))
    for position, found in enumerate(instance.accelerators):
        if found.forced:
            line.stage_count[position] = 1
            line.in_use[found.cluster] += 1
            line.in_use[-1] += 1
    return line


def _table(rows: Sequence[Sequence[int]], width: int) -> Integers:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _integers(values: Any) -> Integers:
    return np.array(list(values), dtype=np.int64)


def _rows(lists: Sequence[Sequence[int]]) -> tuple[Integers, Integers]:
    """Compressed sparse rows: offsets and values."""
    offsets = _integers([0, *accumulate(len(row) for row in lists)])
    return offsets, _integers(value for row in lists for value in row)
