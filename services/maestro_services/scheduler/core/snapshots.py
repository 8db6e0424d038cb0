"""Freezes what the core knows into the planner's snapshot. Instants become seconds from now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from maestro.reasons import Reason
from maestro.snapshot import (
    AcceleratorState,
    PlanInForce,
    ReplicaPhase,
    ReplicaState,
    RunningStage,
    Snapshot,
    StageKey,
    WaitingStage,
    WorkflowState,
)
from maestro.status import StageState
from maestro.workflow import ToolStage
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord, Attempt
from maestro_services.scheduler.core.agenda import PlannedStage
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.demand import Demand
from maestro_services.scheduler.core.fairness import Rank
from maestro_services.scheduler.core.neighbours import Neighbours
from maestro_services.scheduler.core.prefixes import Prefixes
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.replica_records import ReplicaRecord
from maestro_services.scheduler.core.rooms import SERVING, Rooms, has_room, may_load, rooms
from maestro_services.scheduler.core.selection import Outlook, select
from maestro_services.scheduler.core.sleep import Sleep
from maestro_services.scheduler.core.state import SchedulerState

_LEAST_REMAINING_S = 0.05
_NOWHERE = (Reason.NO_ACCELERATOR_FITS, Reason.NO_NODE)


class Snapshots:
    """Builds snapshots of a state."""

    def __init__(self, state: SchedulerState, costing: Costing, sleep: Sleep, prefixes: Prefixes) -> None:
        """``costing`` says how long stages take, ``sleep`` how long loads do, ``prefixes`` what is not read again."""
        self._state = state
        self._sleep = sleep
        self._costing = costing
        self._prefixes = prefixes
        self._neighbours = Neighbours(state)
        self._demand = Demand(state)

    def for_plan(self, now: float) -> Snapshot:
        """What a plan is made from: everything, or where plans decide residency alone, the fleet and the demand."""
        if self._state.config.starts is None:
            return self.whole(now)
        self._state.snapshot_version += 1
        self._explain_misfits(now)
        unfinished = sum(workflow.unfinished for workflow in self._state.workflows.values())
        found = self._assemble((), (), unfinished, now)
        return replace(found, demand=self._demand.at(now), in_force=self._in_force(now))

    def _explain_misfits(self, now: float) -> None:
        """Tells ready stages that fit nowhere, and those that fit again."""
        largest = rooms(self._state, loads=True)
        for key in self._state.ready:
            stage = self._state.stage(key)
            if stage is not None and not stage.attempts:
                self._judge(stage, largest, now)

    def whole(self, now: float) -> Snapshot:
        """All that matters, at most ``max_snapshot_stages`` stages: of what can run the workflows due first.

        Those that cannot make it any more come last, or under overload a plan would see little else.
        """
        state = self._state
        state.snapshot_version += 1
        due_first = sorted(state.workflows.values(), key=lambda w: (self._is_hopeless(w, now), w.deadline_at_s, w.id))
        largest = rooms(state, loads=True)
        selected = select(due_first, state.config.max_snapshot_stages, lambda stage: self._judge(stage, largest, now))
        chosen = tuple(state.workflows[workflow_id] for workflow_id in selected)
        waiting = tuple(self._with_debts([self.waiting(w, stage, now) for w in chosen for stage in selected[w.id]]))
        unfinished = sum(workflow.unfinished for workflow in due_first)
        found = self._assemble(chosen, waiting, unfinished - len(waiting), now)
        return replace(found, in_force=self._in_force(now))

    def _with_debts(self, waiting: list[WaitingStage]) -> Iterator[WaitingStage]:
        """The stages, those marked as first that make up for what tenants have had too little of."""
        debts_s = self._state.fairness.debts_s()
        for stage in waiting:
            tenant = self._state.workflows[stage.key.workflow].spec.tenant
            if debts_s.get(tenant, 0.0) > 0.0 and stage.options and not stage.predecessors:
                debts_s[tenant] -= min(option.duration_s for option in stage.options)
                yield replace(stage, first=True)
            else:
                yield stage

    def _in_force(self, now: float) -> PlanInForce:
        """What is left of the plan in force."""
        config = self._state.config
        places_stages = config.starts is None
        return self._state.agenda.in_force(now, config.commit_s, self._may_start, places_stages=places_stages)

    def _may_start(self, planned: PlannedStage, ahead: int) -> bool:
        """Whether a stage is among the next batch where it runs, and nothing but its turn keeps it waiting."""
        stage, accelerator = self._state.stage(planned.key), self._state.accelerators[planned.accelerator]
        replica = accelerator.replicas.get(planned.model)
        serves = replica is not None and replica.phase in SERVING
        slots = min(member.spec.slots for member in accelerator.members(planned.model))
        is_next = ahead < slots and self._state.is_usable(planned.accelerator)
        return stage is not None and stage.ready and serves and is_next

    def _is_hopeless(self, workflow: WorkflowRecord, now: float) -> bool:
        """Whether the workflow would be late even if nothing kept it waiting from now on."""
        tails = (stage.tail_s for stage in workflow.stages.values() if stage.state is StageState.WAITING)
        return workflow.deadline_at_s - now < max(tails, default=0.0) * max(1.0, self._costing.pace.overall)

    def fleet(self, now: float, *, loads: bool) -> Snapshot:
        """The fleet as it is with nothing waiting; without any load times where loads are not to be considered."""
        snapshot = self._assemble((), (), 0, now)
        return snapshot if loads else replace(snapshot, load_s={})

    def _assemble(
        self, workflows: tuple[WorkflowRecord, ...], waiting: tuple[WaitingStage, ...], omitted: int, now: float
    ) -> Snapshot:
        config = self._state.config
        accelerators = tuple(self._state.usable())
        usable = {accelerator.spec.name for accelerator in accelerators}
        chosen = {workflow.id for workflow in workflows}
        stretches = self._neighbours.stretches(accelerators)
        return Snapshot(
            version=self._state.snapshot_version,
            taken_at_s=now,
            accelerators=tuple(self._accelerator(a, stretches[a.spec.name], now) for a in accelerators),
            models=config.fleet.models,
            load_s=self._loads(accelerators, now),
            workflows=tuple(workflow_state(w, now) for w in workflows),
            waiting=waiting,
            running=self._running(usable, chosen, now),
            budget=config.fleet.budget,
            network_delay_s=config.fleet.network.delay_s,
            weights=config.weights,
            omitted_stages=max(0, omitted),
            groups={key: names for key, names in self._state.groups.items() if key[1] in usable},
        )

    def has_room(self, stage: StageRecord, largest: Rooms) -> bool:
        """Whether an LLM stage of an active workflow can run somewhere."""
        workflow = self._state.workflows[stage.key.workflow]
        return has_room(self._costing.cost(workflow, stage).options, largest)

    def _judge(self, stage: StageRecord, largest: Rooms, now: float) -> Outlook:
        """What stands against planning a stage. A ready one that fits nowhere is told so, since no plan will tell."""
        if stage.state is StageState.RUNNING:
            return self._tool_outlook(stage, now)
        if isinstance(stage.spec, ToolStage):
            return Outlook.PLANNABLE
        found = self.has_room(stage, largest)
        if stage.ready and not found:
            stage.reason = Reason.NO_ACCELERATOR_FITS if largest else Reason.NO_NODE
        elif stage.ready and stage.reason in _NOWHERE:
            stage.reason = Reason.WAITING_FOR_PLAN
        return Outlook.PLANNABLE if found else Outlook.UNPLANNABLE

    def _tool_outlook(self, stage: StageRecord, now: float) -> Outlook:
        """When a tool that a client completes will end is its guess, and nobody's once that has passed."""
        if not isinstance(stage.spec, ToolStage) or stage.spec.duration_s is not None:
            return Outlook.PLANNABLE
        overdue = now - (stage.started_at_s or now) > self._costing.tool_s(stage.spec)
        return Outlook.UNPLANNABLE if overdue else Outlook.UNCERTAIN

    def waiting(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> WaitingStage:
        """A stage that has not started, as the planner sees it."""
        before = [workflow.stages[stage_id] for stage_id in stage.spec.after]
        clusters = frozenset(b.ran_in_cluster for b in before if b.state is StageState.SUCCEEDED and b.ran_in_cluster)
        external = self._costing.tool_s(stage.spec) if isinstance(stage.spec, ToolStage) else None
        return WaitingStage(
            key=stage.key,
            predecessors=tuple(StageKey(workflow.id, stage_id) for stage_id in sorted(stage.waiting_for)),
            options=self._costing.cost(workflow, stage).options if external is None else (),
            tail_s=stage.tail_s,
            external_s=external,
            inputs_from=clusters,
            not_before_s=max(0.0, stage.not_before_s - now),
            waited_s=max(0.0, now - stage.ready_at_s) if stage.ready_at_s is not None else 0.0,
            first=stage.ready and self._state.fairness.rank(workflow, stage, now) is Rank.STARVING,
            reuse=self._prefixes.reuse(workflow, stage),
        )

    def _running(self, usable: set[str], workflow_ids: set[str], now: float) -> tuple[RunningStage, ...]:
        """What runs on usable accelerators, and whatever else chosen workflows have under way."""
        running = [
            _running_attempt(key, attempt.accelerator, attempt.model, attempt, now)
            for accelerator in self._state.accelerators.values()
            for key, attempt in accelerator.running.items()
            if accelerator.spec.name in usable
        ]
        running += [
            _running_attempt(found.key, accelerator.spec.name, found.attempt.model, found.attempt, now)
            for accelerator in self._state.accelerators.values()
            for found in accelerator.stopping.values()
            if accelerator.spec.name in usable
        ]
        placed = {stage.key for stage in running}
        running += [
            self._running_elsewhere(stage, now)
            for workflow_id in sorted(workflow_ids)
            for stage in self._state.workflows[workflow_id].stages.values()
            if stage.state is StageState.RUNNING and stage.key not in placed
        ]
        return tuple(running)

    def _running_elsewhere(self, stage: StageRecord, now: float) -> RunningStage:
        """A tool at work, or an attempt on a node that takes nothing new: it takes time, but no place."""
        if stage.attempt is not None:
            return _running_attempt(stage.key, None, None, stage.attempt, now)
        elapsed = now - (stage.started_at_s or now)
        expected = self._costing.tool_s(stage.spec) if isinstance(stage.spec, ToolStage) else 0.0
        remaining = max(_LEAST_REMAINING_S, expected - elapsed)
        return RunningStage(stage.key, None, None, remaining, remaining, 0)

    def _accelerator(
        self, accelerator: AcceleratorRecord, stretch: Mapping[str, float], now: float
    ) -> AcceleratorState:
        spec = accelerator.spec
        replicas = tuple(_replica(r, now) for r in accelerator.replicas.values())
        return AcceleratorState(
            spec.name,
            accelerator.node,
            accelerator.cluster,
            spec.kind,
            spec.memory_bytes,
            spec.slots,
            spec.kv_elastic,
            replicas,
            stretch,
        )

    def _loads(self, accelerators: tuple[AcceleratorRecord, ...], now: float) -> dict[tuple[str, str], float]:
        """Seconds until a load would be done, for every model and accelerator where one is possible.

        One that is not to be tried again yet takes longer by that: a plan had better wait than move everything.
        """
        loads: dict[tuple[str, str], float] = {}
        for accelerator in accelerators:
            for name, model in self._state.config.fleet.models.items():
                if may_load(self._state, accelerator, model):
                    pause_s = accelerator.load_pause_s(name, now)
                    loads[name, accelerator.spec.name] = pause_s + self._sleep.load_s(accelerator, model)
        return loads


def workflow_state(workflow: WorkflowRecord, now: float) -> WorkflowState:
    """A workflow as the planner sees it."""
    return WorkflowState(
        id=workflow.id,
        deadline_s=workflow.deadline_at_s - now,
        weight=workflow.weight,
        age_s=now - workflow.accepted_at_s,
        slo_class=workflow.slo_class,
        remaining_work_s=workflow.remaining_work_s,
        service_s=workflow.service_s,
    )


def _replica(replica: ReplicaRecord, now: float) -> ReplicaState:
    ready_in_s = max(_LEAST_REMAINING_S, replica.ready_at_s - now) if replica.phase is ReplicaPhase.LOADING else 0.0
    return ReplicaState(replica.model, replica.generation, replica.phase, ready_in_s, replica.kv_pool_bytes)


def _running_attempt(
    key: StageKey, accelerator: str | None, model: str | None, attempt: Attempt, now: float
) -> RunningStage:
    """A running attempt; one that has outlived its forecast is expected to end in a moment."""
    return RunningStage(
        key,
        accelerator,
        model,
        max(_LEAST_REMAINING_S, attempt.expected_end_s - now),
        max(_LEAST_REMAINING_S, attempt.latest_end_s - now),
        attempt.kv_bytes,
    )
