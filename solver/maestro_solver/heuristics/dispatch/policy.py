"""What a dispatch policy decides, and what it sees when it decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maestro_solver.heuristics.policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Site:
    """A replica with room for one more stage now.

    ``finish_s``: when the stage would be predicted to end, the batch, other models and the network considered.
    ``batch`` and ``accelerator_load`` (0 to 1, of slots) are without the stage, ``active_models`` and ``kv_share``
    (reserved of its pool, at the stage's predicted peak) with it.
    """

    accelerator: str
    cluster: str
    model: str
    finish_s: float
    network_s: float
    batch: int
    active_models: int
    kv_share: float
    accelerator_load: float


@dataclass(frozen=True, slots=True)
class Resident:
    """A replica that could leave. ``waiting`` counts ready stages of its model, ``replicas`` all its replicas."""

    model: str
    last_used_s: float
    running: int
    waiting: int
    replicas: int


@dataclass(frozen=True, slots=True)
class LoadSite:
    """An accelerator a model could be loaded on: it would be ready in ``ready_in_s``, once ``evicted`` have left.

    ``residents`` counts the replicas that are there now.
    """

    accelerator: str
    cluster: str
    ready_in_s: float
    evicted: tuple[Resident, ...]
    residents: int
    accelerator_load: float


def earliest_finish(sites: Sequence[Site]) -> Site:
    """Where the stage is predicted to end first; ties go to the first site."""
    return min(sites, key=lambda site: site.finish_s)


def soonest_ready(sites: Sequence[LoadSite]) -> LoadSite:
    """Where the model would serve first; ties go to the fewest evictions, then to the fewest neighbours."""
    return min(sites, key=lambda site: (site.ready_in_s, len(site.evicted), site.residents, site.accelerator_load))


def least_missed(resident: Resident) -> tuple[float, ...]:
    """Models that nothing waits for leave first, then those with the most replicas, then the least recently used."""
    return (float(resident.waiting > 0), -resident.replicas, resident.last_used_s)


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """A scheduler without a plan. All parts are pure functions.

    ``order``: which ready stage is next. ``place``: on which of the replicas with room. ``load``: where its model is
    loaded if it has to be, and ``evict``: who leaves first there (smallest key). ``changes_with_time``: keys of the
    order depend on the instant, so that they are computed anew from time to time. ``drains``: replicas at work may be
    emptied for a load; otherwise only idle ones leave.
    """

    name: str
    order: Policy
    place: Callable[[Sequence[Site]], Site] = earliest_finish
    load: Callable[[Sequence[LoadSite]], LoadSite] = soonest_ready
    evict: Callable[[Resident], tuple[float, ...]] = least_missed
    changes_with_time: bool = False
    drains: bool = True
