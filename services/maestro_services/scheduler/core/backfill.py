"""May a stage start now? Room on the replica and the accelerator, and nothing ordered earlier may be delayed by it.

Pure functions over amounts. A stage that starts early may delay no earlier-ordered stage, no planned drain and no
planned load: it fits beside them, or is over by its p90 end before they begin. A tensor-parallel replica needs its
room on each of its accelerators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maestro.fleet import ModelSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.replica_records import ReplicaRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """A stage that is ordered before another on the same accelerator: it will want its place from ``start_s`` on."""

    model: str
    start_s: float
    kv_bytes: int


Claims = Mapping[str, Sequence[Claim]]
"""By the name of an accelerator, what is ordered there before; one that has no entry has nothing."""


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
    claims: Claims,
) -> Reason | None:
    """What keeps a stage of ``model`` from running beside what runs and beside ``claims``; None where it fits.

    ``accelerator`` keeps the replica.
    """
    members = accelerator.members(model.name)
    same = [claim.kv_bytes for claim in claims.get(accelerator.spec.name, ()) if claim.model == model.name]
    if accelerator.stages_held.get(model.name, 0) + len(same) >= model.max_batch:
        return Reason.WAITING_FOR_BATCH_SLOT
    for member in members:
        claimed = len(claims[member.spec.name]) if member.spec.name in claims else 0
        if sum(member.stages_held.values()) + claimed >= member.spec.slots:
            return Reason.WAITING_FOR_BATCH_SLOT
    if accelerator.spec.kv_elastic:
        fits = all(_holds(member, models, model.share_bytes(kv_bytes), claims) for member in members)
        return None if fits else Reason.WAITING_FOR_KV
    used = accelerator.kv_held.get(model.name, 0) + sum(same)
    return None if used + kv_bytes <= accelerator.replicas[model.name].kv_pool_bytes else Reason.WAITING_FOR_KV


def may_start(
    accelerator: AcceleratorRecord,
    models: Mapping[str, ModelSpec],
    candidate: Candidate,
    claims: Claims,
    drain_at_s: float | None,
) -> Reason | None:
    """Why the candidate must wait, or None where it may start now.

    ``claims`` are the earlier-ordered stages of the replica's accelerators that have not started; ``drain_at_s`` is
    when the candidate's replica is to be empty for a planned eviction (None: no eviction is planned before the
    candidate).
    """
    replica = accelerator.replicas.get(candidate.model)
    if replica is None or replica.phase is not ReplicaPhase.READY:
        draining = replica is not None and replica.phase is ReplicaPhase.DRAINING
        return Reason.WAITING_FOR_DRAIN if draining else Reason.WAITING_FOR_LOAD
    if drain_at_s is not None and candidate.latest_end_s > drain_at_s:
        return Reason.WAITING_FOR_DRAIN
    model = models[candidate.model]
    alone = room(accelerator, model, models, candidate.kv_bytes, {})
    if alone is not None:
        return alone
    contenders = {name: [c for c in found if c.start_s < candidate.latest_end_s] for name, found in claims.items()}
    if room(accelerator, model, models, candidate.kv_bytes, contenders) is not None:
        return Reason.WAITING_FOR_EARLIER_STAGE
    return None


def resident_bytes(accelerator: AcceleratorRecord, models: Mapping[str, ModelSpec]) -> int:
    """Device memory that replicas take whatever runs on them: their shares of weights, overhead and fixed pools."""
    return sum(
        share_of(replica, models)
        for _, replica in accelerator.residents()
        if replica.phase in (ReplicaPhase.LOADING, ReplicaPhase.READY, ReplicaPhase.DRAINING)
    )


def share_of(replica: ReplicaRecord, models: Mapping[str, ModelSpec]) -> int:
    """What a replica takes of each of its accelerators whatever runs on it, bytes."""
    model = models[replica.model]
    return model.resident_share_bytes(replica.kv_pool_bytes)


def _holds(accelerator: AcceleratorRecord, models: Mapping[str, ModelSpec], share_bytes: int, claims: Claims) -> bool:
    """Whether elastic memory is left for a share beside what is held and what is claimed."""
    claimed = sum(models[c.model].share_bytes(c.kv_bytes) for c in claims.get(accelerator.spec.name, ()))
    used = resident_bytes(accelerator, models) + accelerator.share_held_bytes + claimed
    return used + share_bytes <= accelerator.spec.memory_bytes
