"""Tool stages: begun as soon as they are ready, ended by their stated duration or by their client."""

from __future__ import annotations

from maestro.reasons import Reason
from maestro.status import StageState
from maestro.workflow import ToolStage
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.events import ToolCompleted
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.state import SchedulerState


class ToolStages:
    """Starts and ends the stages that take no place in the fleet."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, costing: Costing) -> None:
        """``lifecycle`` records what becomes of them; ``costing`` says how long they are expected to take."""
        self._state = state
        self._lifecycle = lifecycle
        self._costing = costing

    def start(self, now: float, outcome: Outcome) -> None:
        """Begins the tool stages that are ready."""
        while self._state.tools_to_start:
            stage = self._state.stage(self._state.tools_to_start.pop())
            if stage is not None and stage.ready and isinstance(stage.spec, ToolStage):
                self._start(stage, stage.spec, now, outcome)

    def resume(self, stage: StageRecord, spec: ToolStage, now: float) -> None:
        """A tool that an earlier scheduler began goes on by its timer, or until its client ends it."""
        self._time(stage, spec, stage.started_at_s or now)

    def complete(self, event: ToolCompleted, now: float, outcome: Outcome) -> None:
        """A client ended a tool stage. The server has checked that it runs; a second delivery changes nothing."""
        stage = self._state.stage(event.key)
        if stage is None or stage.state is not StageState.RUNNING:
            return
        if event.error:
            self._lifecycle.fail_stage(stage, Reason.TOOL_FAILED, event.error, now, outcome)
        else:
            stage.output = event.output
            self._lifecycle.succeed(stage, now, outcome)

    def keep_time(self, now: float, outcome: Outcome) -> None:
        """Ends the tool stages whose stated duration is over.

        A client's tool that is overdue makes the plan doubtful: what it has ordered behind the tool may keep others
        waiting, and nobody knows for how long.
        """
        for key in self._state.due_tools(now):
            stage = self._state.stage(key)
            if stage is None or stage.state is not StageState.RUNNING or not isinstance(stage.spec, ToolStage):
                continue
            if stage.spec.duration_s is not None:
                self._lifecycle.succeed(stage, now, outcome)
            else:
                self._state.plan_wanted = True

    def _start(self, stage: StageRecord, spec: ToolStage, now: float, outcome: Outcome) -> None:
        self._time(stage, spec, now)
        self._lifecycle.record_start(stage, now, outcome)
        if spec.duration_s is None:
            stage.reason = Reason.WAITING_FOR_TOOL

    def _time(self, stage: StageRecord, spec: ToolStage, started_at_s: float) -> None:
        """Remembers when the tool ends, or from when on a client's tool is overdue."""
        tolerance = 0.0 if spec.duration_s is not None else self._state.config.drift
        self._state.add_tool_timer(started_at_s + self._costing.tool_s(spec) * (1.0 + tolerance), stage.key)
