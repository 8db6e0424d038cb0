"""A snapshot a moment after a plan of it was put in force, nothing having happened but what the plan orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from maestro.plan import Assignment, Plan, Residency
from maestro.snapshot import (
    AcceleratorState,
    PlanInForce,
    ReplicaPhase,
    ReplicaState,
    RunningStage,
    Snapshot,
    WaitingStage,
    WorkflowState,
)
from maestro_solver.planner.in_force import in_force_of

COMMIT_S = 2.0
"""What is due within so long is committed, as in the shipped scenarios."""

_LEAST_S = 0.05
"""What is under way is not over before it is seen to be."""

_NEXT_GENERATION = 1 << 40


def moments_later(snapshot: Snapshot, plan: Plan, after_s: float) -> Snapshot:
    """The snapshot ``after_s`` seconds later: what was due has begun, what runs has come on, and nothing has ended."""
    begun = {found.stage: found for found in plan.assignments if found.start_s <= after_s}
    waiting = tuple(_waited(stage, after_s) for stage in snapshot.waiting if stage.key not in begun)
    started = tuple(_started(found, after_s) for found in begun.values())
    return replace(
        snapshot,
        version=snapshot.version + 1,
        taken_at_s=snapshot.taken_at_s + after_s,
        accelerators=tuple(_loaded(found, plan, after_s) for found in snapshot.accelerators),
        workflows=tuple(_aged(workflow, after_s) for workflow in snapshot.workflows),
        waiting=waiting,
        running=(*(_come_on(stage, after_s) for stage in snapshot.running), *started),
        in_force=_left(snapshot, plan, after_s),
    )


def still_to_do(snapshot: Snapshot, plan: Plan, after_s: float) -> set[tuple[object, ...]]:
    """What a plan decides of the time from ``after_s`` on: places of stages, or which models stay where."""
    if snapshot.demand:
        return {(found.accelerator, found.model) for found in plan.residencies if found.end_s is None}
    return {(f.stage, f.accelerator, f.model) for f in plan.assignments if f.start_s > after_s or after_s == 0.0}


def _left(snapshot: Snapshot, plan: Plan, after_s: float) -> PlanInForce:
    """What of the plan has not begun."""
    ordered = in_force_of(plan)
    ready = {stage.key for stage in snapshot.waiting if not stage.predecessors}
    starts = tuple(
        replace(found, due_in_s=due_s, committed=due_s <= COMMIT_S and found.stage in ready)
        for found in ordered.starts
        if (due_s := found.due_in_s - after_s) > 0.0
    )
    loads = tuple(
        replace(found, due_in_s=due_s, committed=due_s <= COMMIT_S and bool(snapshot.demand))
        for found in ordered.loads
        if (due_s := found.due_in_s - after_s) > 0.0
    )
    return PlanInForce(starts, loads)


def _loaded(accelerator: AcceleratorState, plan: Plan, after_s: float) -> AcceleratorState:
    residencies = [found for found in plan.residencies if found.accelerator == accelerator.name]
    return replace(accelerator, replicas=tuple(_replicas(accelerator, residencies, after_s)))


def _replicas(accelerator: AcceleratorState, residencies: list[Residency], after_s: float) -> Iterator[ReplicaState]:
    """Those of the accelerator that have not left for a load, and the loads that have begun."""
    gone = {
        found.model for found in residencies if found.initial and found.end_s is not None and found.end_s <= after_s
    }
    for replica in accelerator.replicas:
        if replica.model not in gone:
            loading = replica.phase is ReplicaPhase.LOADING
            yield replace(replica, ready_in_s=max(_LEAST_S, replica.ready_in_s - after_s) if loading else 0.0)
    for found in residencies:
        if not found.initial and found.load_start_s <= after_s:
            left_s = max(_LEAST_S, found.ready_s - after_s)
            yield ReplicaState(found.model, _NEXT_GENERATION, ReplicaPhase.LOADING, left_s, found.kv_pool_bytes)


def _started(found: Assignment, after_s: float) -> RunningStage:
    left_s = max(_LEAST_S, found.end_s - after_s)
    return RunningStage(found.stage, found.accelerator, found.model, left_s, left_s, found.kv_bytes)


def _come_on(stage: RunningStage, after_s: float) -> RunningStage:
    left_s, left_p90_s = stage.remaining_s - after_s, stage.remaining_p90_s - after_s
    return replace(stage, remaining_s=max(_LEAST_S, left_s), remaining_p90_s=max(_LEAST_S, left_p90_s))


def _waited(stage: WaitingStage, after_s: float) -> WaitingStage:
    return replace(stage, waited_s=stage.waited_s + after_s, not_before_s=max(0.0, stage.not_before_s - after_s))


def _aged(workflow: WorkflowState, after_s: float) -> WorkflowState:
    return replace(workflow, deadline_s=workflow.deadline_s - after_s, age_s=workflow.age_s + after_s)
