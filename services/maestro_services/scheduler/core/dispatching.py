"""Carries a dispatch policy out: whatever is next starts at once where there is room for it.

Nothing is placed ahead of time, so that the order stays the policy's to the last moment. A stage that is next and has
no room holds up the others of its models: what is smaller does not overtake it again and again. Loads are the policy's
as well, or the plans' where there are any, but for models that plans leave out and while the planner is down.
"""

from __future__ import annotations

from maestro.performance import slowdown
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, RunOption, StageKey
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.backfill import room
from maestro_services.scheduler.core.clearing import Clearing
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.execution import Execution
from maestro_services.scheduler.core.loading import Loading
from maestro_services.scheduler.core.ordering import Ordering
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.prefixes import Prefixes
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.rooms import can_have_room, leaves_promised
from maestro_services.scheduler.core.starting import Starter
from maestro_services.scheduler.core.state import SchedulerState
from maestro_solver.heuristics.dispatch import Site


class Dispatch:
    """Starts ready stages in the policy's order and has its loads ordered."""

    def __init__(
        self,
        state: SchedulerState,
        costing: Costing,
        execution: Execution,
        starter: Starter,
        ordering: Ordering,
        loading: Loading,
        prefixes: Prefixes,
    ) -> None:
        """The parts it works on; it owns none of them but what makes room."""
        self._state = state
        self._clearing = Clearing(state, execution)
        self._costing = costing
        self._execution = execution
        self._starter = starter
        self._ordering = ordering
        self._loading = loading
        self._prefixes = prefixes
        self._models = state.config.fleet.models
        self._nodeless = False

    def place_ready(self, now: float, outcome: Outcome, *, moved: bool) -> None:
        """Starts what can start and orders loads. ``moved``: an accelerator may be able to take more than before."""
        ready = self._state.ready
        ready.end_pauses(now)
        if not ready.take_added() and not moved:
            return
        if self._explain_no_node():
            return
        self._ordering.reorder(self._state, now)
        without_room = self._start_in_order(now, outcome)
        self._clearing.consider(without_room, now, outcome)
        plans_load = self._state.config.dispatch is None and not self._state.planner_down
        self._loading.consider(now, turns_only=plans_load)
        if self._state.touched:
            self._execution.advance(now, outcome)

    def _explain_no_node(self) -> bool:
        """Whether no accelerator is there. Ready stages are told so, and told when one is."""
        nodeless = not any(True for _ in self._state.usable())
        if nodeless or self._nodeless:
            for key in self._state.ready:
                stage = self._state.stage(key)
                if stage is not None and not stage.attempts:
                    stage.reason = Reason.NO_NODE if nodeless else Reason.WAITING_FOR_PLAN
        self._nodeless = nodeless
        return nodeless

    def _start_in_order(self, now: float, outcome: Outcome) -> list[StageRecord]:
        """Goes through the most wanted stages until each model's next one has no room, and returns those."""
        models, without_room = set(self._state.ready.models()), list[StageRecord]()
        while models:
            key = self._state.ready.first(models)
            if key is None:
                break
            if self._ordering.demote_hopeless(self._state, (key,), now):
                continue
            stage = self._state.stage(key)
            if stage is None or not self._start(stage, key, now, outcome):
                models.difference_update(stage.models if stage is not None else models)
                without_room += [stage] if stage is not None else []
        return without_room

    def _start(self, stage: StageRecord, key: StageKey, now: float, outcome: Outcome) -> bool:
        """Whether the stage has left the queue: it was started, or turned out not to be able to run."""
        sites = self._sites(stage)
        policy = self._state.config.policy
        if not sites or policy is None:
            stage.reason = self._obstacle(stage)
            return False
        site = policy.place(sites)
        accelerator = self._state.accelerators[site.accelerator]
        option = self._starter.option(stage, site.model, accelerator.spec.kind, now, outcome)
        if option is None:
            return self._state.ready.order_of(key) is None
        if room(accelerator, self._models[option.model], self._models, option.kv_bytes, {}) is not None:
            return False  # its prompt turned out longer than it was thought to be
        self._starter.start(stage, accelerator, option, now, outcome)
        return True

    def _obstacle(self, stage: StageRecord) -> Reason:
        """Why the stage that is next has no room: its models serve nowhere it could run, or are full where they do."""
        reserved = {option.model: option.kv_bytes for option in stage.cost.options} if stage.cost is not None else {}
        phases = {
            accelerator.replicas[model].phase
            for model in stage.models
            for accelerator in self._state.hosts.of(model)
            if self._state.is_usable(accelerator.spec.name)
            and can_have_room(accelerator, self._models[model], self._models, reserved.get(model, 0))
        }
        if ReplicaPhase.READY in phases:
            return Reason.WAITING_FOR_BATCH_SLOT
        if ReplicaPhase.LOADING in phases:
            return Reason.WAITING_FOR_LOAD
        fits_nowhere = stage.reason is Reason.NO_ACCELERATOR_FITS  # as was found out when a plan was asked for
        return Reason.NO_ACCELERATOR_FITS if fits_nowhere else Reason.WAITING_FOR_PLAN

    def _sites(self, stage: StageRecord) -> list[Site]:
        """The replicas that have room for the stage now and are not to leave, as the policy sees them."""
        workflow = self._state.workflows[stage.key.workflow]
        options = {(o.model, o.kind): o for o in self._costing.cost(workflow, stage).options}
        before = {workflow.stages[stage_id].ran_in_cluster for stage_id in stage.spec.after} - {""}
        places = [
            (accelerator, option)
            for model in stage.models
            for accelerator in self._state.hosts.of(model)
            if (option := options.get((model, accelerator.spec.kind))) is not None
            and self._has_room(accelerator, option)
        ]
        found = self._prefixes.reuse(workflow, stage) if len(places) > 1 else ()  # else there is nothing to choose
        saved_s = {(reuse.model, reuse.accelerator): reuse.saved_s for reuse in found}
        return [
            self._site(
                accelerator,
                option,
                saved_s.get((option.model, accelerator.spec.name), 0.0),
                away=bool(before - {accelerator.cluster}),
            )
            for accelerator, option in places
        ]

    def _has_room(self, accelerator: AcceleratorRecord, option: RunOption) -> bool:
        replica = accelerator.replicas.get(option.model)
        if replica is None or replica.phase is not ReplicaPhase.READY:
            return False
        if room(accelerator, self._models[option.model], self._models, option.kv_bytes, {}) is not None:
            return False
        if accelerator.spec.kv_elastic and not leaves_promised(accelerator, option, self._models):
            return False
        name = accelerator.spec.name
        return self._state.is_usable(name) and self._state.agenda.next_eviction(name, option.model) is None

    def _site(self, accelerator: AcceleratorRecord, option: RunOption, saved_s: float, *, away: bool) -> Site:
        """A tensor-parallel replica is as slow, and as loaded, as the busiest of its accelerators."""
        members = accelerator.members(option.model)
        batch = accelerator.stages_held.get(option.model, 0)
        active = max(len(member.stages_held) for member in members) + (option.model not in accelerator.stages_held)
        model = self._models[option.model]
        pool = accelerator.replicas[option.model].kv_pool_bytes or sum(m.spec.memory_bytes for m in members)
        network_s = self._state.config.fleet.network.delay_s if away else 0.0
        takes_s = max(0.0, option.duration_s - saved_s)
        return Site(
            accelerator=accelerator.spec.name,
            cluster=accelerator.cluster,
            model=option.model,
            finish_s=network_s + takes_s * slowdown(model.speeds[option.kind], batch + 1, active),
            network_s=network_s,
            batch=batch,
            active_models=active,
            kv_share=(accelerator.kv_held.get(option.model, 0) + option.kv_bytes) / pool,
            accelerator_load=max(sum(m.stages_held.values()) / max(1, m.spec.slots) for m in members),
        )
