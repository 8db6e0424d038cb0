"""The core's memory of accelerators: their replicas, and the attempts that hold places on them. Mutable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from maestro.fleet import AcceleratorSpec, equal_share
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.replica_records import ReplicaRecord, SleepingReplica
from maestro_solver.predictor.lessons import Unlearnt


@dataclass(slots=True)
class Attempt:
    """One try at a stage. ``recovered``: an earlier scheduler sent it. ``produced_tokens``: as its node last said."""

    id: str
    accelerator: str
    model: str
    generation: int
    kv_bytes: int
    kv_tokens: int
    sent_at_s: float
    expected_end_s: float
    latest_end_s: float
    recovered: bool = False
    produced_tokens: int = 0


@dataclass(frozen=True, slots=True)
class StoppingAttempt:
    """An attempt told to stop: it holds its place until it has. ``unlearnt``: for the predictor, if it can learn."""

    key: StageKey
    attempt: Attempt
    unlearnt: Unlearnt | None


@dataclass(slots=True)
class AcceleratorRecord:
    """An accelerator with what is on it.

    A tensor-parallel replica is kept by the first of its accelerators, and so is whatever runs on it. ``groups`` holds,
    by model, the accelerators that a replica kept here would take, this one first; ``kept_by``, by model, the one that
    keeps the replica which this one would have a share of. Both follow from the scenario and never change.

    ``sleeping`` engines, by model, take next to nothing of it. ``running`` and ``stopping`` (by attempt id) hold
    places; ``stages_held`` and ``kv_held`` (bytes of all the replica) say how many and how much by model, and
    ``share_held_bytes`` what is held of this accelerator alone, replicas of other accelerators that have a share of it
    included; only the methods here change any of the five. ``promised`` is elastic memory of this accelerator, in
    bytes by model, that loads and other models leave to a ready stage, ``expected`` what loads that nothing waits for
    leave to the next one. ``retired`` holds the highest generation of each model that is
    gone.
    """

    spec: AcceleratorSpec
    node: str
    cluster: str
    groups: dict[str, tuple[AcceleratorRecord, ...]] = field(default_factory=dict, repr=False, compare=False)
    kept_by: dict[str, AcceleratorRecord] = field(default_factory=dict, repr=False, compare=False)
    replicas: dict[str, ReplicaRecord] = field(default_factory=dict)
    sleeping: dict[str, SleepingReplica] = field(default_factory=dict)
    running: dict[StageKey, Attempt] = field(default_factory=dict)
    stopping: dict[str, StoppingAttempt] = field(default_factory=dict)
    stages_held: dict[str, int] = field(default_factory=dict)
    kv_held: dict[str, int] = field(default_factory=dict)
    share_held_bytes: int = 0
    promised: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    retired: dict[str, int] = field(default_factory=dict)
    load_failures: dict[str, int] = field(default_factory=dict)
    no_load_before_s: dict[str, float] = field(default_factory=dict)
    _alone: tuple[AcceleratorRecord, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Most models take only it."""
        self._alone = (self,)

    def members(self, model: str) -> tuple[AcceleratorRecord, ...]:
        """The accelerators that a replica of the model kept here takes: this one first."""
        return self.groups.get(model, self._alone)

    def peers(self, model: str) -> tuple[str, ...]:
        """The names of the others."""
        return tuple(member.spec.name for member in self.members(model)[1:])

    def residents(self) -> Iterator[tuple[AcceleratorRecord, ReplicaRecord]]:
        """All replicas that take memory of this accelerator, or will, each with the accelerator that keeps it."""
        yield from ((self, replica) for replica in self.replicas.values())
        yield from ((a, a.replicas[model]) for model, a in self.kept_by.items() if model in a.replicas)

    def sleepers(self) -> Iterator[tuple[AcceleratorRecord, SleepingReplica]]:
        """The same for engines that sleep."""
        yield from ((self, sleeping) for sleeping in self.sleeping.values())
        yield from ((a, a.sleeping[model]) for model, a in self.kept_by.items() if model in a.sleeping)

    def begin(self, key: StageKey, attempt: Attempt) -> None:
        """An attempt takes its place."""
        self.running[key] = attempt
        self._hold(attempt, 1)

    def end(self, key: StageKey) -> None:
        """A running attempt gives its place back, if it has one."""
        attempt = self.running.pop(key, None)
        if attempt is not None:
            self._hold(attempt, -1)

    def begin_stop(self, stopping: StoppingAttempt) -> None:
        """An attempt that was told to stop holds a place until ``end_stop``."""
        self.stopping[stopping.attempt.id] = stopping
        self._hold(stopping.attempt, 1)

    def end_stop(self, attempt_id: str) -> None:
        """A stopped attempt gives its place back, if it has one."""
        stopping = self.stopping.pop(attempt_id, None)
        if stopping is not None:
            self._hold(stopping.attempt, -1)

    def load_pause_s(self, model: str, now: float) -> float:
        """Seconds before a load of the model may be tried (again)."""
        return max(0.0, self.no_load_before_s.get(model, 0.0) - now)

    def occupants(self) -> list[Attempt]:
        """Every attempt that holds a place on a replica kept here."""
        return [*self.running.values(), *(stopping.attempt for stopping in self.stopping.values())]

    def _hold(self, attempt: Attempt, sign: int) -> None:
        members = self.members(attempt.model)
        share_bytes = equal_share(attempt.kv_bytes, len(members))
        for member in members:
            member._hold_share(attempt, sign, share_bytes)  # noqa: SLF001 - its own kind

    def _hold_share(self, attempt: Attempt, sign: int, share_bytes: int) -> None:
        self.share_held_bytes += sign * share_bytes
        left = self.stages_held.get(attempt.model, 0) + sign
        if left:
            self.stages_held[attempt.model] = left
            self.kv_held[attempt.model] = self.kv_held.get(attempt.model, 0) + sign * attempt.kv_bytes
        else:
            del self.stages_held[attempt.model]
            del self.kv_held[attempt.model]
