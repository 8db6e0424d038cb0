"""What every family of checks reads: a snapshot and a plan, indexed, and the violations they report."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from maestro.plan import Assignment, Plan, Residency
from maestro.snapshot import (
    AcceleratorState,
    ReplicaPhase,
    ReplicaState,
    RunningStage,
    Snapshot,
    StageKey,
    WaitingStage,
)

TOLERANCE_S = 1e-6
"""Two instants closer than this are the same instant."""

RESIDENT_PHASES = frozenset({ReplicaPhase.LOADING, ReplicaPhase.READY, ReplicaPhase.DRAINING})
"""Phases in which a replica takes device memory."""


class Constraint(StrEnum):
    """The constraints a plan has to satisfy, by name."""

    EACH_STAGE_ONCE = "each_stage_once"
    KNOWN_NAMES = "known_names"
    OPTION = "option"
    DURATION = "duration"
    HORIZON = "horizon"
    INSIDE_RESIDENCY = "inside_residency"
    INITIAL_RESIDENCY = "initial_residency"
    LOAD = "load"
    LINK = "link"
    ONE_REPLICA = "one_replica"
    GROUP = "group"
    DRAINING = "draining"
    PINNED = "pinned"
    BUSY_REPLICA = "busy_replica"
    PRECEDENCE = "precedence"
    DEFERRED_PREDECESSOR = "deferred_predecessor"
    NOT_BEFORE = "not_before"
    MEMORY = "memory"
    POOL = "pool"
    BATCH = "batch"
    SLOTS = "slots"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken constraint, and a sentence that says what breaks it."""

    constraint: Constraint
    detail: str

    def __str__(self) -> str:
        """``constraint: sentence``."""
        return f"{self.constraint}: {self.detail}"


@dataclass(frozen=True)
class Case:
    """A plan under examination with the snapshot it was made for."""

    snapshot: Snapshot
    plan: Plan

    @cached_property
    def waiting(self) -> dict[StageKey, WaitingStage]:
        """Waiting stages by key."""
        return {stage.key: stage for stage in self.snapshot.waiting}

    @cached_property
    def running(self) -> dict[StageKey, RunningStage]:
        """Running stages by key."""
        return {stage.key: stage for stage in self.snapshot.running}

    @cached_property
    def accelerators(self) -> dict[str, AcceleratorState]:
        """Accelerators by name."""
        return {accelerator.name: accelerator for accelerator in self.snapshot.accelerators}

    @cached_property
    def assigned(self) -> dict[StageKey, Assignment]:
        """Assignments by stage."""
        return {assignment.stage: assignment for assignment in self.plan.assignments}

    @cached_property
    def deferred(self) -> frozenset[StageKey]:
        """The stages the plan defers."""
        return frozenset(deferral.stage for deferral in self.plan.deferred)

    @cached_property
    def draining(self) -> frozenset[int]:
        """Positions in the plan's residencies of those that stand for a DRAINING replica."""
        found: set[int] = set()
        for accelerator in self.snapshot.accelerators:
            left = [replica for replica in accelerator.replicas if replica.phase in RESIDENT_PHASES]
            for position, residency in enumerate(self.plan.residencies):
                replica = _take_match(left, residency) if residency.accelerator == accelerator.name else None
                if replica is not None and replica.phase is ReplicaPhase.DRAINING:
                    found.add(position)
        return frozenset(found)

    @cached_property
    def on_accelerator(self) -> dict[str | None, list[Assignment | RunningStage]]:
        """Planned and running stages by accelerator; those of a tensor-parallel model by the first of theirs."""
        found: dict[str | None, list[Assignment | RunningStage]] = defaultdict(list)
        stages: list[Assignment | RunningStage] = [*self.plan.assignments, *self.snapshot.running]
        for stage in stages:
            found[stage.accelerator].append(stage)
        return found

    @cached_property
    def sharing(self) -> dict[str, list[Assignment | RunningStage]]:
        """The same by every accelerator that gives the stage a slot and, where KV is elastic, memory."""
        found: dict[str, list[Assignment | RunningStage]] = defaultdict(list)
        for stages in self.on_accelerator.values():
            for stage in stages:
                for name in self.members(stage):
                    found[name].append(stage)
        return found

    @cached_property
    def residencies_of(self) -> dict[tuple[str, str], list[tuple[int, Residency]]]:
        """Residencies with their positions in the plan, by accelerator and model."""
        found: dict[tuple[str, str], list[tuple[int, Residency]]] = defaultdict(list)
        for position, residency in enumerate(self.plan.residencies):
            found[residency.accelerator, residency.model].append((position, residency))
        return found

    def members(self, found: Assignment | RunningStage | Residency) -> tuple[str, ...]:
        """The accelerators that a stage or a residency takes a share of; none for a running tool stage."""
        return () if found.accelerator is None else self.snapshot.members(found.model or "", found.accelerator)

    def read_s(self, residency: Residency) -> float:
        """When a residency's weights have been read: its engine starts after that, without the link.

        A load that takes no longer than an engine's start wakes one up, and holds the link all the time.
        """
        model, accelerator = self.snapshot.models.get(residency.model), self.accelerators.get(residency.accelerator)
        speed = model.speeds.get(accelerator.kind) if model is not None and accelerator is not None else None
        start_s = speed.start_s if speed is not None else 0.0
        load_s = self.snapshot.load_s.get((residency.model, residency.accelerator))
        if residency.initial or load_s is None:
            return residency.ready_s - start_s
        return residency.load_start_s + (load_s - start_s if load_s > start_s else load_s)

    def host_of(self, assignment: Assignment) -> Residency | None:
        """The ready, not draining residency that holds the whole assignment, if there is one."""
        for position, residency in self.residencies_of.get((assignment.accelerator, assignment.model), ()):
            if position not in self.draining and _contains(residency, assignment):
                return residency
        return None

    def finish_s(self, key: StageKey) -> float:
        """When the stage ends under this plan; infinity where it is deferred, unknown or waits for such a stage."""
        if key in self.running:
            return self.running[key].remaining_s
        if key in self.assigned:
            return self.assigned[key].end_s
        stage = self.waiting.get(key)
        if stage is None or stage.external_s is None or key in self.deferred:
            return math.inf
        return self._external_finish_s[key]

    @cached_property
    def _external_finish_s(self) -> dict[StageKey, float]:
        """Ends of the tool stages the plan does not defer; they start when their predecessors have ended."""
        tools = [
            stage for stage in self.snapshot.waiting if stage.external_s is not None and stage.key not in self.deferred
        ]
        finish = {stage.key: math.inf for stage in tools}
        for _ in tools:  # as many rounds as the longest chain of tool stages needs, at most one each
            before = dict(finish)
            for stage in tools:
                ends = [finish[key] if key in finish else self.finish_s(key) for key in stage.predecessors]
                finish[stage.key] = max([stage.not_before_s, *ends]) + (stage.external_s or 0.0)
            if finish == before:
                break
        return finish

    def cluster_of(self, key: StageKey) -> str | None:
        """The cluster where the stage runs under this plan; None for tool stages and unknown ones."""
        name: str | None = None
        if key in self.running:
            name = self.running[key].accelerator
        elif key in self.assigned:
            name = self.assigned[key].accelerator
        return self.accelerators[name].cluster if name in self.accelerators else None


def _take_match(replicas: list[ReplicaState], residency: Residency) -> ReplicaState | None:
    """Remove and return the first replica that the residency can stand for."""
    for replica in replicas:
        if residency.initial and stands_for(residency, replica):
            replicas.remove(replica)
            return replica
    return None


def stands_for(residency: Residency, replica: ReplicaState) -> bool:
    """Whether an initial residency has the replica's model, ready time and pool."""
    return (
        residency.model == replica.model
        and abs(residency.ready_s - replica.ready_in_s) <= TOLERANCE_S
        and residency.kv_pool_bytes == replica.kv_pool_bytes
    )


def _contains(residency: Residency, assignment: Assignment) -> bool:
    return (
        residency.accelerator == assignment.accelerator
        and residency.model == assignment.model
        and residency.ready_s <= assignment.start_s + TOLERANCE_S
        and (residency.end_s is None or assignment.end_s <= residency.end_s + TOLERANCE_S)
    )
