"""The scheduler as a state machine: one event and the time in, transitions and effects out."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.costs import PredictorReport
from maestro.plan import Plan
from maestro.snapshot import Snapshot, StageKey
from maestro.status import StageStatus
from maestro.workflow import LlmStage, WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.dispatching import Dispatch
from maestro_services.scheduler.core.execution import Execution
from maestro_services.scheduler.core.fairness import Fairness
from maestro_services.scheduler.core.learning import Learning
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.lesson_log import LessonLog
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.load_notes import load_note
from maestro_services.scheduler.core.loading import Loading
from maestro_services.scheduler.core.nodes import Nodes
from maestro_services.scheduler.core.ordering import Ordering
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.placement import Placement
from maestro_services.scheduler.core.planning import Planning
from maestro_services.scheduler.core.prefixes import Prefixes
from maestro_services.scheduler.core.prompts import Prompts, PromptSource
from maestro_services.scheduler.core.records import NodeRecord
from maestro_services.scheduler.core.replicas import Replicas
from maestro_services.scheduler.core.restoring import RestoredWorkflow, restore
from maestro_services.scheduler.core.sleep import Sleep
from maestro_services.scheduler.core.snapshots import Snapshots
from maestro_services.scheduler.core.starting import Starter
from maestro_services.scheduler.core.state import SchedulerState
from maestro_services.scheduler.core.suitability import Suitability
from maestro_services.scheduler.core.tool_stages import ToolStages
from maestro_solver.heuristics.policies import POLICIES

HEARTBEAT_OF_TIME_S = 1.0


class SchedulerCore:
    """Owns the state. Not thread-safe, but for ``count_ahead``: one loop drives it."""

    def __init__(
        self,
        config: CoreConfig,
        lengths: RoleLengths,
        *,
        epoch: int,
        sequence: int = 0,
        prompts: PromptSource | None = None,
        lessons: LessonLog | None = None,
    ) -> None:
        """``lengths`` forecasts outputs. ``epoch`` is larger than that of any earlier scheduler on the same store.

        ``sequence``: the last one used there. ``prompts``: where prompts come from; None: from the texts of the stages.
        ``lessons``: where what is learnt goes on being kept; None: nothing is kept.
        """
        self._state = SchedulerState.initial(config, epoch, sequence)
        self._lengths = lengths
        self._prompts = prompts or Prompts(config)
        self._costing = Costing(config, lengths, self._prompts)
        self._learning = Learning(lengths, self._costing, lessons)
        sleep = Sleep(self._state)
        prefixes = Prefixes(self._state, self._prompts, self._costing.pace)
        self._snapshots = Snapshots(self._state, self._costing, sleep, prefixes)
        ordering = _ordering(config, self._costing.pace, self._state.fairness)
        self._lifecycle = Lifecycle(self._state, self._costing, self._learning, ordering)
        self._tools = ToolStages(self._state, self._lifecycle, self._costing)
        self._replicas = Replicas(self._state, self._lifecycle, sleep)
        self._nodes = Nodes(self._state, self._lifecycle, self._replicas)
        self._suitability = Suitability(self._state, self._lifecycle, self._costing, self._prompts)
        starter = Starter(self._state, self._lifecycle, self._costing, self._suitability)
        self._execution = Execution(self._state, starter, sleep)
        self._placement: Placement | Dispatch
        if config.policy is None:
            self._placement = Placement(self._state, self._snapshots, self._execution, ordering)
        else:
            loading = Loading(self._state, self._costing.pace, config.policy, sleep)
            self._placement = Dispatch(
                self._state, self._costing, self._execution, starter, ordering, loading, prefixes
            )
        self._planning = Planning(self._state, self._snapshots, self._lifecycle, self._costing)

    def handle(self, event: on.Event, now: float) -> Outcome:
        """What follows from an event at an instant (seconds since the epoch, never going back)."""
        outcome = Outcome()
        self._apply(event, now, outcome)
        self._tools.start(now, outcome)
        self._suitability.examine_ready(now, outcome)
        moved = self._execution.advance(now, outcome)
        self._placement.place_ready(now, outcome, moved=moved)
        self._learning.keep(outcome, any_will_do=isinstance(event, on.Tick))
        return outcome

    def count_ahead(self, spec: WorkflowSpec) -> None:
        """Counts the long prompts of a workflow before it is submitted; any thread may call it."""
        self._prompts.count_ahead(spec)

    def restore(self, workflows: list[RestoredWorkflow], now: float) -> Outcome:
        """Takes over what an earlier scheduler had accepted and not ended; tells what cannot go on as it was."""
        return restore(self._state, self._lifecycle, self._tools, self._costing, workflows, now)

    def drain(self, nodes: frozenset[str]) -> None:
        """Takes over which nodes an operator had drained."""
        for name in nodes & self._state.nodes.keys():
            self._state.nodes[name].draining = True

    def next_wakeup(self, now: float) -> float:
        """The instant by which a Tick is due if nothing else happens."""
        candidates = [now + HEARTBEAT_OF_TIME_S]
        if self._state.tool_timers:
            candidates.append(self._state.tool_timers[0][0])
        pause_end_s = self._state.ready.next_pause_end()
        if pause_end_s is not None:
            candidates.append(pause_end_s)
        return min(candidates)

    @property
    def lessons_are_due(self) -> bool:
        """Whether a LessonsDue event should be posted now."""
        return self._learning.is_due

    def plan_is_due(self, now: float) -> bool:
        """Whether a PlanDue event should be posted now."""
        return self._state.config.dispatch is None and self._planning.is_due(now)

    @property
    def epoch(self) -> int:
        """The epoch of every command."""
        return self._state.epoch

    @property
    def plan(self) -> Plan | None:
        """The plan in force; None before the first."""
        return self._state.plan

    @property
    def nodes(self) -> Mapping[str, NodeRecord]:
        """The nodes by name; to be read only."""
        return self._state.nodes

    def snapshot(self, now: float) -> Snapshot:
        """What the planner would see now."""
        return self._snapshots.whole(now)

    def predictor_state(self) -> Mapping[str, object]:
        """What the predictor has learnt, JSON-able."""
        self._learning.learn()
        return self._lengths.state()

    def predictor_report(self) -> PredictorReport:
        """What forecasts lengths, and how well it has done."""
        lengths = self._lengths
        return PredictorReport(lengths.source, lengths.fallback_reason, lengths.drifts, self._learning.coverage)

    def stage_status(self, key: StageKey) -> StageStatus | None:
        """A stage of an active workflow as it is now, durable or not."""
        stage = self._state.stage(key)
        return stage.status() if stage is not None else None

    def waiting(self, workflow_id: str) -> Mapping[str, StageStatus]:
        """The stages of an active workflow that have not ended, as they are now: why they wait, what is forecast."""
        workflow = self._state.workflows.get(workflow_id)
        if workflow is None:
            return {}
        for stage in workflow.stages.values():
            if isinstance(stage.spec, LlmStage):
                self._costing.cost(workflow, stage)
        return {name: stage.status() for name, stage in workflow.stages.items() if not stage.state.final}

    def load_notes(self, workflow_id: str, now: float) -> Mapping[str, str]:
        """In words, which load each stage of an active workflow waits for, or which failed; others are left out."""
        workflow = self._state.workflows.get(workflow_id)
        stages = workflow.stages.values() if workflow is not None else ()
        notes = ((stage.key.stage, load_note(self._state, stage, now)) for stage in stages)
        return {stage_id: note for stage_id, note in notes if note}

    def active_workflows(self) -> int:
        """How many workflows have not ended."""
        return len(self._state.workflows)

    def _apply(self, event: on.Event, now: float, outcome: Outcome) -> None:  # noqa: C901, PLR0912 - one arm an event
        match event:
            case on.WorkflowSubmitted():
                self._lifecycle.submit(event, now, outcome)
            case on.CancelRequested():
                self._lifecycle.cancel(event, now, outcome)
            case on.ToolCompleted():
                self._tools.complete(event, now, outcome)
            case on.NodeRegistered():
                self._nodes.register(event, now, outcome)
            case on.NodeSeen():
                self._state.nodes[event.node].last_seen_s = now
            case on.NodeUnreachable():
                self._nodes.unreachable(event, now, outcome)
            case on.NodeDrainRequested():
                self._nodes.drain(event, now, outcome)
            case on.NodeStatusReported():
                self._nodes.report(event, now, outcome)
            case on.ReplicaUnloaded():
                self._replicas.unloaded(event)
            case on.ReplicaCommandRefused():
                self._replicas.refused(event, now, outcome)
            case on.ReplicaAsleep():
                self._replicas.fell_asleep(event)
            case on.AttemptFinished():
                self._lifecycle.finish_attempt(event, now, outcome)
            case on.AttemptFailed():
                self._lifecycle.fail_attempt(event, now, outcome)
            case on.AttemptStopped():
                self._lifecycle.finish_stop(event)
            case on.LessonsDue():
                self._learning.learn()
            case on.PlanDue():
                self._planning.request(now, outcome)
            case on.PlanMade():
                self._planning.adopt(event.plan, now, outcome)
            case on.PlanningFailed():
                self._planning.failed(event, outcome)
            case on.Tick():
                self._tools.keep_time(now, outcome)
                self._learning.learn()
                self._nodes.expire_leases(now, outcome)
                self._replicas.end_load_pauses(now)
                self._planning.notice_drift(now)
                self._state.touched.update(self._state.accelerators)


def _ordering(config: CoreConfig, pace: Pace, fairness: Fairness) -> Ordering:
    """The order of the dispatch policy, or of the heuristic that goes with plans."""
    if config.policy is None:
        return Ordering(POLICIES[config.order_policy], pace, fairness)
    return Ordering(config.policy.order, pace, fairness, changes_with_time=config.policy.changes_with_time)
