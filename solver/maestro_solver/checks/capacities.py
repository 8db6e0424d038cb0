"""Checks of what is shared: device memory, KV pools, batches, slots, and the budget of accelerators.

A tensor-parallel replica and its stages take their share of every accelerator of the group.
Where a snapshot is over a capacity by itself (its limit was lowered, say), only instants at which the plan adds
something count against the plan.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from maestro.plan import Assignment, Residency
from maestro.snapshot import AcceleratorState, ReplicaPhase, RunningStage
from maestro_solver.checks.case import TOLERANCE_S, Case, Constraint, Violation


class Demand(NamedTuple):
    """An amount held from ``start_s`` to ``end_s``; ``planned`` tells the plan's own from the snapshot's."""

    start_s: float
    end_s: float
    amount: int
    planned: bool


def memory(case: Case) -> Iterator[Violation]:
    """Weights, overhead, pools and elastic KV reservations fit each accelerator's memory at every instant."""
    for accelerator in case.snapshot.accelerators:
        demands = [
            _residency_demand(case, found) for found in case.plan.residencies if accelerator.name in case.members(found)
        ]
        demands += _elastic_demands(case, accelerator.name)
        yield from _overruns(demands, accelerator.memory_bytes, Constraint.MEMORY, f"{accelerator.name}: bytes")


def pools(case: Case) -> Iterator[Violation]:
    """Where KV is not elastic, the reservations on a replica fit its pool at every instant."""
    for accelerator in case.snapshot.accelerators:
        if accelerator.kv_elastic:
            continue
        for residency in _usable(case, accelerator):
            demands = [
                demand
                for demand in _replica_demands(case, accelerator.name, residency.model, kv=True)
                if _during(demand, residency)
            ]
            where = f"{residency.model} on {accelerator.name}: bytes of its pool"
            yield from _overruns(demands, residency.kv_pool_bytes, Constraint.POOL, where)


def batches(case: Case) -> Iterator[Violation]:
    """A replica never runs more stages at once than its model's largest batch."""
    for accelerator in case.snapshot.accelerators:
        for model in {assignment.model for assignment in case.plan.assignments}:
            if model in case.snapshot.models:
                demands = _replica_demands(case, accelerator.name, model, kv=False)
                limit = case.snapshot.models[model].max_batch
                yield from _overruns(demands, limit, Constraint.BATCH, f"{model} on {accelerator.name}: stages at once")


def slots(case: Case) -> Iterator[Violation]:
    """An accelerator never runs more stages at once than it has slots."""
    for accelerator in case.snapshot.accelerators:
        demands = [_stage_demand(stage, 1) for stage in case.sharing[accelerator.name]]
        yield from _overruns(demands, accelerator.slots, Constraint.SLOTS, f"{accelerator.name}: stages at once")


def budget(case: Case) -> Iterator[Violation]:
    """No more accelerators are in use than the GPU budget allows, in all and per cluster.

    An accelerator is in use if a stage runs there, now or by the plan, or a model loads. An idle replica that nothing
    uses does not count. Accelerators that are in use in the snapshot already may stay so.
    """
    forced = {name for stage in case.snapshot.running for name in case.members(stage)}
    for accelerator in case.snapshot.accelerators:
        for replica in accelerator.replicas:
            if replica.phase is ReplicaPhase.LOADING:
                forced.update(case.snapshot.members(replica.model, accelerator.name))
    forced &= case.accelerators.keys()
    planned: list[Assignment | Residency] = list(case.plan.assignments)
    planned += [found for found in case.plan.residencies if not found.initial]
    used = forced | {name for found in planned for name in case.members(found)} & case.accelerators.keys()
    total = case.snapshot.budget.total
    if len(used) > max(total, len(forced)):
        yield Violation(Constraint.BUDGET, f"{len(used)} accelerators are in use of {total} allowed")
    used_in = Counter(case.accelerators[name].cluster for name in used)
    forced_in = Counter(case.accelerators[name].cluster for name in forced)
    for cluster, limit in case.snapshot.budget.per_cluster.items():
        if used_in[cluster] > max(limit, forced_in[cluster]):
            yield Violation(Constraint.BUDGET, f"{used_in[cluster]} accelerators are in use in {cluster} of {limit}")


def _residency_demand(case: Case, residency: Residency) -> Demand:
    model, pool_bytes = case.snapshot.models.get(residency.model), residency.kv_pool_bytes
    held = pool_bytes if model is None else model.resident_share_bytes(pool_bytes)
    end_s = math.inf if residency.end_s is None else residency.end_s
    return Demand(residency.load_start_s, end_s, held, not residency.initial)


def _share(case: Case, model: str | None, whole_bytes: int) -> int:
    """What each accelerator of a replica holds of an amount."""
    found = case.snapshot.models.get(model or "")
    return whole_bytes if found is None else found.share_bytes(whole_bytes)


def _elastic_demands(case: Case, accelerator: str) -> list[Demand]:
    """The shares of reservations that are taken from an accelerator as stages come and go."""
    return [
        _stage_demand(stage, _share(case, stage.model, stage.kv_bytes))
        for stage in case.sharing[accelerator]
        if stage.accelerator in case.accelerators and case.accelerators[stage.accelerator].kv_elastic
    ]


def _replica_demands(case: Case, accelerator: str, model: str, *, kv: bool) -> list[Demand]:
    """What running and planned stages of a replica hold of it: KV bytes, or one place each."""
    found = case.on_accelerator.get(accelerator, ())
    return [_stage_demand(stage, stage.kv_bytes if kv else 1) for stage in found if stage.model == model]


def _stage_demand(stage: Assignment | RunningStage, amount: int) -> Demand:
    if isinstance(stage, RunningStage):
        return Demand(0.0, stage.remaining_s, amount, planned=False)
    return Demand(stage.start_s, stage.end_s, amount, planned=True)


def _usable(case: Case, accelerator: AcceleratorState) -> Iterator[Residency]:
    for position, residency in enumerate(case.plan.residencies):
        if residency.accelerator == accelerator.name and position not in case.draining:
            yield residency


def _during(demand: Demand, residency: Residency) -> bool:
    """Whether a stage's demand falls into a residency (stages never straddle two)."""
    before_end = residency.end_s is None or demand.start_s < residency.end_s - TOLERANCE_S
    started = residency.ready_s - TOLERANCE_S <= demand.start_s
    return before_end and (started if demand.planned else residency.initial)


def _overruns(demands: Iterable[Demand], capacity: int, constraint: Constraint, where: str) -> Iterator[Violation]:
    """The first instant at which the plan has part in holding more than the capacity."""
    changes: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for demand in demands:
        if demand.end_s - demand.start_s <= TOLERANCE_S:
            continue
        for time_s, sign in ((demand.start_s, 1), (demand.end_s - TOLERANCE_S, -1)):
            changes[time_s][0] += sign * demand.amount
            changes[time_s][1] += sign * demand.planned
    held = planned = 0
    for time_s in sorted(changes):
        held += changes[time_s][0]
        planned += changes[time_s][1]
        if held > capacity and planned:
            yield Violation(constraint, f"{where}: {held} held at {time_s:.3f} s, {capacity} there are")
            return
