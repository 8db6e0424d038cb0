"""What can run at all: which reservations the replicas that are, or could be, on usable accelerators have room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.fleet import ModelSpec
from maestro.snapshot import ReplicaPhase, RunOption
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.backfill import resident_bytes
from maestro_services.scheduler.core.state import SchedulerState

SERVING = (ReplicaPhase.READY, ReplicaPhase.LOADING)

Rooms = Mapping[tuple[str, str], int]
"""For each model and kind of accelerator the largest KV reservation, in bytes, that some replica can hold."""


def may_load(state: SchedulerState, accelerator: AcceleratorRecord, model: ModelSpec) -> bool:
    """Whether a load is possible, if not at once: its node has the weights, it fits, its kind is served.

    Of the accelerators that a replica takes, only the first stands for a place.
    """
    members = accelerator.members(model.name)
    pool = 0 if accelerator.spec.kv_elastic else model.kv_pool_bytes
    share_bytes = model.resident_share_bytes(pool)
    return (
        len(members) == model.tensor_parallel_size
        and all(share_bytes <= member.spec.memory_bytes for member in members)
        and model.name in state.nodes[accelerator.node].models
        and accelerator.spec.kind in model.speeds
    )


def rooms(state: SchedulerState, *, loads: bool) -> Rooms:
    """What replicas of usable accelerators have room for; with ``loads`` also those that could be loaded."""
    found: dict[tuple[str, str], int] = {}
    models = state.config.fleet.models
    for accelerator in state.usable():
        kind = accelerator.spec.kind
        for replica in accelerator.replicas.values():
            if replica.phase in SERVING:
                room = _room(accelerator, models[replica.model], models, replica.kv_pool_bytes)
                found[replica.model, kind] = max(room, found.get((replica.model, kind), 0))
        for model in models.values() if loads else ():
            if may_load(state, accelerator, model):
                room = _room(accelerator, model, models, model.kv_pool_bytes)
                found[model.name, kind] = max(room, found.get((model.name, kind), 0))
    return found


def has_room(options: Iterable[RunOption], largest: Rooms) -> bool:
    """Whether one of a stage's options has room somewhere."""
    return any(option.kv_bytes <= largest.get((option.model, option.kind), -1) for option in options)


def can_have_room(
    accelerator: AcceleratorRecord, model: ModelSpec, models: Mapping[str, ModelSpec], kv_bytes: int
) -> bool:
    """Whether a reservation fits beside the model where KV is elastic, once all that is not pinned there has left.

    Fixed pools are the same everywhere: which reservations they hold is known before a stage is ready.
    """
    return not accelerator.spec.kv_elastic or kv_bytes <= _room(accelerator, model, models, 0)


def leaves_promised(accelerator: AcceleratorRecord, option: RunOption, models: Mapping[str, ModelSpec]) -> bool:
    """Whether a stage, where KV is elastic, leaves what is promised to stages of other models."""
    share_bytes = models[option.model].share_bytes(option.kv_bytes)
    for member in accelerator.members(option.model):
        promised_bytes = sum(found for model, found in member.promised.items() if model != option.model)
        used_bytes = resident_bytes(member, models) + member.share_held_bytes if promised_bytes else 0
        if promised_bytes and used_bytes + promised_bytes + share_bytes > member.spec.memory_bytes:
            return False
    return True


def _pinned_bytes(accelerator: AcceleratorRecord, but: ModelSpec, models: Mapping[str, ModelSpec]) -> int:
    """What replicas of other models take of an accelerator that they never leave."""
    return sum(
        models[replica.model].resident_share_bytes(replica.kv_pool_bytes)
        for keeper, replica in accelerator.residents()
        if replica.model != but.name and keeper.spec.name in models[replica.model].pinned_on
    )


def _room(accelerator: AcceleratorRecord, model: ModelSpec, models: Mapping[str, ModelSpec], pool_bytes: int) -> int:
    """The largest reservation beside the model and what is pinned there: the least share any of its accelerators has.

    Where KV comes in fixed pools it is the pool.
    """
    if not accelerator.spec.kv_elastic:
        return pool_bytes
    members = accelerator.members(model.name)
    smallest_bytes = min(member.spec.memory_bytes - _pinned_bytes(member, model, models) for member in members)
    return (smallest_bytes - model.resident_share_bytes()) * model.tensor_parallel_size
