"""The core's memory of replicas: those that serve or will, and those that sleep in host memory. Mutable."""

from __future__ import annotations

from dataclasses import dataclass

from maestro.snapshot import ReplicaPhase


@dataclass(slots=True)
class ReplicaRecord:
    """A replica the scheduler ordered or was told of. ``ready_at_s`` is an instant.

    ``seen``: its node has shown it in a report; one that was seen and is shown no more is gone. ``waking``: it is
    LOADING from host memory. ``stays_awake``: its node would not put it to sleep.
    """

    model: str
    generation: int
    phase: ReplicaPhase
    kv_pool_bytes: int
    ready_at_s: float
    last_used_s: float = 0.0
    seen: bool = False
    no_unload_before_s: float = 0.0
    waking: bool = False
    stays_awake: bool = False


@dataclass(slots=True)
class SleepingReplica:
    """An engine whose weights lie in host memory. ``leaving``: it was told to stop."""

    model: str
    generation: int
    kv_pool_bytes: int
    last_used_s: float
    leaving: bool = False
