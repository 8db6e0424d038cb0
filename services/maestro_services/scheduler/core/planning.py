"""When a plan is wanted, and what becomes of it when it arrives in a world that has moved on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from maestro.plan import Plan
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.agenda import Agenda
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.events import PlanningFailed
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.news import News
from maestro_services.scheduler.core.outcome import Outcome, ReportFallback, ReportPlan, RequestPlan
from maestro_services.scheduler.core.snapshots import Snapshots
from maestro_services.scheduler.core.state import SchedulerState
from maestro_solver.check import check
from maestro_solver.planner import rebase

REJECTIONS_TO_BE_DOWN = 3
"""So many plans in a row that cannot be used, and the heuristic takes over until one can."""


class Planning:
    """Asks for plans and takes them over."""

    def __init__(self, state: SchedulerState, snapshots: Snapshots, lifecycle: Lifecycle, costing: Costing) -> None:
        """``lifecycle`` puts stages that lose their place back into the queue; ``costing`` forecasts running ones."""
        self._costing = costing
        self._state = state
        self._snapshots = snapshots
        self._lifecycle = lifecycle
        self._news = News()

    def is_due(self, now: float) -> bool:
        """Whether a plan is wanted, none is being made, and the last request is long enough ago."""
        state = self._state
        rested = now - state.plan_requested_at_s >= state.config.min_plan_interval_s
        return state.plan_wanted and not state.planning and rested and any(True for _ in state.usable())

    def request(self, now: float, outcome: Outcome) -> None:
        """Asks for a plan of what is known now; nothing is asked where nothing waits, or nothing is new.

        Where nothing waits, the next arrival need not wait for the interval between plans.
        """
        self._state.plan_wanted = False
        snapshot = self._snapshots.for_plan(now)
        if not any(stage.options for stage in snapshot.waiting) and not (snapshot.demand and self._state.workflows):
            return
        self._state.plan_requested_at_s = now
        if self._news.is_in(snapshot):
            self._news.planned(snapshot)
            self._state.planning = True
            outcome.effects.append(RequestPlan(snapshot))

    def adopt(self, plan: Plan, now: float, outcome: Outcome) -> None:
        """Rebases the plan on what is known now and puts it in force, if the checker finds nothing against it.

        What has started or ended since is dropped; order, places and residency are kept. Where the world has moved
        too far, the plan in force goes on and another one is asked for.
        """
        self._state.planning = False
        provenance = plan.provenance
        if provenance.fallback_reason is not None:
            self._news.forget()
            outcome.effects.append(ReportFallback(provenance.fallback_reason))
        fresh = self._snapshots.for_plan(now)
        rebased = rebase(plan, fresh, tick_s=self._state.config.tick_s)
        if check(fresh, rebased):
            outcome.effects.append(ReportFallback(Reason.PLAN_REJECTED_BY_CHECKER))
            self._state.plan_wanted = True
            self._news.forget()
            self._state.rejections += 1
            self._state.planner_down = self._state.rejections >= REJECTIONS_TO_BE_DOWN
            return
        first = {stage.key for stage in fresh.waiting if stage.first}
        self._put_in_force(replace(rebased, provenance=provenance), first, now)
        outcome.effects.append(ReportPlan(provenance))
        if any(deferral.reason is Reason.WAITING_FOR_PLAN for deferral in rebased.deferred):
            self._state.plan_wanted = True  # its place has gone meanwhile

    def failed(self, event: PlanningFailed, outcome: Outcome) -> None:
        """There is no plan; stages go on being placed one by one, and another plan is asked for in due time."""
        self._state.planning = False
        self._state.planner_down = event.reason is not Reason.NOTHING_TO_PLAN
        self._news.forget()
        self._state.plan_wanted = self._state.plan_wanted or self._state.planner_down
        outcome.effects.append(ReportFallback(event.reason))

    def notice_drift(self, now: float) -> None:
        """A stage that runs longer than its p90 by more than the scenario's share makes the plan doubtful.

        It is forecast again, given that it runs on, or else taken to need that share once more.
        One that is over sooner than predicted needs no threshold: every end asks for another plan.
        """
        drift = self._state.config.drift
        for accelerator in self._state.accelerators.values():
            for key, attempt in accelerator.running.items():
                span_s = attempt.latest_end_s - attempt.sent_at_s
                if now > attempt.latest_end_s + drift * span_s:
                    stage = self._state.stage(key)
                    left_s = stage and self._costing.left_s(stage, attempt, accelerator.spec.kind)
                    median_s, upper_s = left_s or (span_s * drift / 2, span_s * drift)
                    attempt.latest_end_s = now + upper_s
                    attempt.expected_end_s = max(attempt.expected_end_s, now + median_s)
                    self._state.plan_wanted = True

    def _put_in_force(self, plan: Plan, first: Collection[StageKey], now: float) -> None:
        state = self._state
        before = set(state.agenda.place)
        state.planner_down, state.rejections = False, 0
        agenda = Agenda.of(plan, first, state.groups)
        agenda.keep_turns(state.agenda)
        state.agenda = agenda
        state.plan = plan
        for key in state.agenda.place:
            state.ready.discard(key)
        self._lifecycle.requeue(before - set(state.agenda.place), now)
        for deferral in plan.deferred:
            stage = state.stage(deferral.stage)
            if stage is not None and stage.ready:
                stage.reason = deferral.reason
        state.touched.update(state.accelerators)
