"""Finds out as which of its models a ready stage can run at all: by its prompt, and by the memory it would reserve."""

from __future__ import annotations

from maestro.fleet import AcceleratorSpec, Fleet, ModelSpec
from maestro.placeholders import quoted_stages
from maestro.prompt import ContextLimitError, FittedPrompt
from maestro.reasons import Reason
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.prompts import PromptSource
from maestro_services.scheduler.core.records import Misfit, StageRecord
from maestro_services.scheduler.core.state import SchedulerState

NEAR_THE_CONTEXT = 0.6
"""From this share of the context on an estimate is not to be trusted, and the prompt is counted at once."""


class Suitability:
    """Counts prompts, excludes models that stages cannot run as, and fails the stages that have none left."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, costing: Costing, prompts: PromptSource) -> None:
        """The parts it works on; it owns none of them."""
        self._state = state
        self._lifecycle = lifecycle
        self._costing = costing
        self._prompts = prompts
        self._models = state.config.fleet.models
        self._largest_bytes = largest_reservations(state.config.fleet)

    def examine_ready(self, now: float, outcome: Outcome) -> None:
        """Looks at the stages that have become ready; prompts are only counted where the estimate is in doubt."""
        examined, self._state.newly_ready = self._state.newly_ready, []
        self._lifecycle.requeue(self._costing.look_at(self._state, examined), now)
        for key in examined:
            stage = self._state.stage(key)
            if stage is not None and stage.ready:
                for model in stage.llm.models:
                    self._examine(stage, model, count=False)
                self._fail_without_models(stage, now, outcome)

    def fits(self, stage: StageRecord, model: str) -> bool:
        """Whether a ready stage can run as ``model``. Its prompt is counted, and is in ``stage.prompts`` if it can."""
        self._examine(stage, model, count=True)
        return model not in stage.misfits

    def withdraw(self, stage: StageRecord, now: float, outcome: Outcome) -> None:
        """Takes the stage's place back: it waits for one as another model, or fails where none is left."""
        placed = self._state.agenda.place.get(stage.key)
        if placed is not None:
            self._state.touch(placed.model, placed.accelerator)
            self._state.agenda.drop(stage.key)
        if not self._fail_without_models(stage, now, outcome):
            stage.reason = Reason.WAITING_FOR_PLAN
            self._lifecycle.requeue([stage.key], now)
        self._state.plan_wanted = True

    def _examine(self, stage: StageRecord, model: str, *, count: bool) -> None:
        if model not in stage.misfits:
            misfit = self._misfit(stage, model, count=count)
            if misfit is not None:
                self._costing.exclude(stage, model, misfit)

    def _misfit(self, stage: StageRecord, model: str, *, count: bool) -> Misfit | None:
        if model not in self._models:
            return Misfit(Reason.NO_ACCELERATOR_FITS, f'model "{model}" is not in the scenario any more')
        if model not in self._largest_bytes:
            return Misfit(
                Reason.NO_ACCELERATOR_FITS, f'no accelerator of the scenario can hold a replica of model "{model}"'
            )
        if model not in stage.prompts and (count or self._is_in_doubt(stage, self._models[model])):
            try:
                workflow = self._state.workflows[stage.key.workflow]
                self._costing.counted(workflow, stage, model, self._fit(stage, model))
            except ContextLimitError as error:
                return Misfit(Reason.CONTEXT_LIMIT, f'as model "{model}" {error}')
        needed, largest = self._reservation_bytes(stage, model), self._largest_bytes[model]
        if needed <= largest:
            return None
        return Misfit(
            Reason.NO_ACCELERATOR_FITS,
            f'as model "{model}" the stage needs {needed} bytes of KV memory, and the largest pool of any accelerator '
            f"of the scenario holds {largest}; lower max_tokens or shorten the prompt",
        )

    def _is_in_doubt(self, stage: StageRecord, model: ModelSpec) -> bool:
        """Whether a count could show that the stage fits where the estimate says it does not, or the other way."""
        near = stage.prompt_tokens > NEAR_THE_CONTEXT * model.context_tokens
        return near or self._reservation_bytes(stage, model.name) > self._largest_bytes[model.name]

    def _reservation_bytes(self, stage: StageRecord, model: str) -> int:
        """The same on every kind of accelerator."""
        options = self._costing.cost(self._state.workflows[stage.key.workflow], stage).options
        return next(option.kv_bytes for option in options if option.model == model)

    def _fail_without_models(self, stage: StageRecord, now: float, outcome: Outcome) -> bool:
        models = stage.llm.models
        if any(model not in stage.misfits for model in models):
            return False
        misfits = [stage.misfits[model] for model in models]
        detail = "; ".join(misfit.detail for misfit in misfits)
        self._lifecycle.fail_stage(stage, misfits[0].reason, detail, now, outcome)
        return True

    def _fit(self, stage: StageRecord, model: str) -> FittedPrompt:
        """The prompt with its predecessors' outputs in it."""
        spec, workflow = stage.llm, self._state.workflows[stage.key.workflow]
        outputs = {name: workflow.stages[name].output for name in quoted_stages(spec.messages)}
        return self._prompts.fit(spec, model, outputs)


def largest_reservations(fleet: Fleet) -> dict[str, int]:
    """The most KV memory in bytes that one stage could ever get, by model; a model that fits nowhere has no entry."""
    nodes = [node for cluster in fleet.clusters for node in cluster.nodes]
    largest: dict[str, int] = {}
    for name, model in fleet.models.items():
        pools = [
            _largest_pool(group, model)
            for node in nodes
            for group in node.groups_of(model.tensor_parallel_size, model.speeds)
        ]
        if any(pool > 0 for pool in pools):
            largest[name] = max(pools)
    return largest


def _largest_pool(group: tuple[AcceleratorSpec, ...], model: ModelSpec) -> int:
    """KV memory beside the model alone on its accelerators; not positive where it does not fit."""
    smallest_bytes = min(spec.memory_bytes for spec in group)
    if group[0].kv_elastic:
        return (smallest_bytes - model.resident_share_bytes()) * model.tensor_parallel_size
    fits = model.resident_share_bytes(model.kv_pool_bytes) <= smallest_bytes
    return model.kv_pool_bytes if fits else 0
