"""What a stage waits for, in words, where its model is still to come: a load under way, or one that failed."""

from __future__ import annotations

from maestro.fleet import WeightTier, place_text
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.state import SchedulerState

_FOR_A_MODEL = (Reason.WAITING_FOR_LOAD, Reason.WAITING_FOR_PLAN)


def load_note(state: SchedulerState, stage: StageRecord, now: float) -> str:
    """Which load the stage waits for and how far it is, or which one failed; empty where there is neither."""
    if not stage.ready or stage.reason not in _FOR_A_MODEL:
        return ""
    return _under_way(state, stage, now) or _failed(state, stage, now)


def _under_way(state: SchedulerState, stage: StageRecord, now: float) -> str:
    """The load of the stage's models that is ready first."""
    loading = [
        (accelerator.replicas[model].ready_at_s, accelerator, model)
        for model in stage.models
        for accelerator in state.hosts.of(model)
        if accelerator.replicas[model].phase is ReplicaPhase.LOADING
    ]
    if not loading:
        return ""
    ready_at_s, accelerator, model = min(loading, key=lambda one: one[0])
    tier = WeightTier.HOST if accelerator.replicas[model].waking else WeightTier.DISK
    about_s = state.load_s(accelerator, state.config.fleet.models[model], tier)
    so_far_s = max(0.0, about_s - (ready_at_s - now))
    return f"waiting for {model} to load on {_place(accelerator, model)} ({so_far_s:.0f} s of about {about_s:.0f} s)"


def _failed(state: SchedulerState, stage: StageRecord, now: float) -> str:
    """The failed load of the stage's models that is tried again first."""
    failed = [
        (accelerator.no_load_before_s.get(model, now), accelerator, model)
        for accelerator in state.accelerators.values()
        for model in stage.models
        if accelerator.load_failures.get(model)
    ]
    if not failed:
        return ""
    again_at_s, accelerator, model = min(failed, key=lambda one: one[0])
    failures = accelerator.load_failures[model]
    times = "once" if failures == 1 else f"{failures} times in a row"
    again = f", tried again in {again_at_s - now:.0f} s" if again_at_s > now else ""
    return f"{model} failed to load on {_place(accelerator, model)} {times}{again}"


def _place(accelerator: AcceleratorRecord, model: str) -> str:
    return place_text(accelerator.spec.name, *accelerator.peers(model))
