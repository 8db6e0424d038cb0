"""Prefix reuse: replicas that still hold the KV of what a stage's prompt begins with, since one before it ran there.

Engines keep the KV of finished calls until they need the room (vLLM's prefix caching), whole blocks of it. Nobody tells
the scheduler what they have dropped, so that what is expected here is an estimate, good for choosing among places.
"""

from __future__ import annotations

from maestro.snapshot import PrefixReuse, ReplicaPhase
from maestro.status import StageState
from maestro.workflow import LlmStage
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.prompts import PromptSource
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState

BLOCK_TOKENS = 16
"""Engines keep KV in blocks of so many tokens; what does not fill one is read again."""


class Prefixes:
    """Finds what stages would not have to read again, and where."""

    def __init__(self, state: SchedulerState, prompts: PromptSource, pace: Pace) -> None:
        """``prompts`` says how much two stages begin with alike, ``pace`` how long engines lately took for anything."""
        self._state = state
        self._prompts = prompts
        self._pace = pace

    def reuse(self, workflow: WorkflowRecord, stage: StageRecord) -> tuple[PrefixReuse, ...]:
        """For each replica that a predecessor ran on, and that is still the same, what it would save of the prefill."""
        if not stage.ready or not isinstance(stage.spec, LlmStage) or not stage.spec.after:
            return ()
        saved: dict[tuple[str, str], float] = {}
        for stage_id in stage.spec.after:
            before = workflow.stages[stage_id]
            if before.model in stage.models and self._still_holds(before):
                place = (before.model, before.accelerator)
                saved[place] = max(saved.get(place, 0.0), self._saved_s(stage, before))
        return tuple(PrefixReuse(*place, saved_s) for place, saved_s in saved.items() if saved_s > 0.0)

    def _still_holds(self, before: StageRecord) -> bool:
        """Whether the replica that a stage ran on has served ever since: an engine that sleeps drops its KV."""
        accelerator = self._state.accelerators.get(before.accelerator)
        replica = accelerator.replicas.get(before.model) if accelerator is not None else None
        if before.state is not StageState.SUCCEEDED or before.started_at_s is None or replica is None:
            return False
        return replica.phase is ReplicaPhase.READY and replica.ready_at_s <= before.started_at_s

    def _saved_s(self, stage: StageRecord, before: StageRecord) -> float:
        if before.usage is None:
            return 0.0
        tokens = self._prompts.shared_tokens(stage.llm, before.llm, before.usage)
        kind = self._state.accelerators[before.accelerator].spec.kind
        speed = self._state.config.fleet.models[before.model].speeds[kind]
        alone_s = tokens // BLOCK_TOKENS * BLOCK_TOKENS / speed.prefill_tokens_per_s
        return alone_s * self._pace.of(before.model, kind)
