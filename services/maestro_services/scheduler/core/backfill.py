"""May a stage start now? Room on the replica and the accelerator, and nothing ordered earlier may be delayed by it.

Pure functions over amounts. A stage that starts early may delay no earlier-ordered stage, no planned drain and no
planned load: it fits beside them, or is over by its p90 end before they begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maestro.fleet import ModelSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.records import AcceleratorRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """A stage that is ordered before another on the same accelerator: it will want its place from ``start_s`` on."""

    model: str
    start_s: float
    kv_bytes: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stage that could start now; ``latest_end_s`` is its end at the 90th percentile of its length."""

    model: str
    kv_bytes: int
    latest_end_s: float


def room(
    accelerator: AcceleratorRecord,
    model: ModelSpec,
    models: Mapping[str, ModelSpec],
    kv_bytes: int,
    claims: Iterable[Claim],
) -> Reason | None:
    """What keeps a stage of ``model`` from running beside what runs and beside ``claims``; None where it fits."""
    claimed = list(claims)
    same = [claim.kv_bytes for claim in claimed if claim.model == model.name]
    stages = sum(accelerator.stages_held.values()) + len(claimed)
    batch = accelerator.stages_held.get(model.name, 0) + len(same)
    if stages >= accelerator.spec.slots or batch >= model.max_batch:
        return Reason.WAITING_FOR_BATCH_SLOT
    if accelerator.spec.kv_elastic:
        reserved = sum(accelerator.kv_held.values()) + sum(claim.kv_bytes for claim in claimed)
        used = resident_bytes(accelerator, models) + reserved
        return None if used + kv_bytes <= accelerator.spec.memory_bytes else Reason.WAITING_FOR_KV
    used = accelerator.kv_held.get(model.name, 0) + sum(same)
    return None if used + kv_bytes <= accelerator.replicas[model.name].kv_pool_bytes else Reason.WAITING_FOR_KV


def may_start(
    accelerator: AcceleratorRecord,
    models: Mapping[str, ModelSpec],
    candidate: Candidate,
    claims: Iterable[Claim],
    drain_at_s: float | None,
) -> Reason | None:
    """Why the candidate must wait, or None where it may start now.

    ``claims`` are the earlier-ordered stages of the accelerator that have not started; ``drain_at_s`` is when the
    candidate's replica is to be empty for a planned eviction (None: no eviction is planned before the candidate).
    """
    replica = accelerator.replicas.get(candidate.model)
    if replica is None or replica.phase is not ReplicaPhase.READY:
        draining = replica is not None and replica.phase is ReplicaPhase.DRAINING
        return Reason.WAITING_FOR_DRAIN if draining else Reason.WAITING_FOR_LOAD
    if drain_at_s is not None and candidate.latest_end_s > drain_at_s:
        return Reason.WAITING_FOR_DRAIN
    model = models[candidate.model]
    alone = room(accelerator, model, models, candidate.kv_bytes, ())
    if alone is not None:
        return alone
    contenders = [c for c in claims if c.start_s < candidate.latest_end_s]
    if room(accelerator, model, models, candidate.kv_bytes, contenders) is not None:
        return Reason.WAITING_FOR_EARLIER_STAGE
    return None


def resident_bytes(accelerator: AcceleratorRecord, models: Mapping[str, ModelSpec]) -> int:
    """Device memory that replicas take whatever runs on them: weights, overhead and fixed pools."""
    return sum(
        models[r.model].fixed_bytes + r.kv_pool_bytes
        for r in accelerator.replicas.values()
        if r.phase in (ReplicaPhase.LOADING, ReplicaPhase.READY, ReplicaPhase.DRAINING)
    )
