"""Begins attempts: the prompt is rendered, the place is taken, and the command goes out once the start is durable."""

from __future__ import annotations

from maestro.performance import reservation_tokens
from maestro.prompt import ContextLimitError, FittedPrompt, fit_context
from maestro.reasons import Reason
from maestro.snapshot import RunOption
from maestro.workflow import LlmStage
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import ExecuteAttempt, Outcome
from maestro_services.scheduler.core.records import AcceleratorRecord, Attempt, StageRecord
from maestro_services.scheduler.core.state import SchedulerState


class Starter:
    """Prepares and begins attempts of ready LLM stages."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, costing: Costing) -> None:
        """The parts it works on; it owns none of them."""
        self._state = state
        self._lifecycle = lifecycle
        self._costing = costing

    def option(self, stage: StageRecord, model: str, kind: str) -> RunOption:
        """How the stage runs as ``model`` on ``kind``, with its prompt counted.

        Raises ContextLimitError where the prompt leaves no room for output.
        """
        if model not in stage.prompts:
            fitted = self._fit(stage, model)
            stage.prompts[model] = fitted
            self._costing.reprice(stage, fitted.prompt_tokens)
        for option in self._costing.cost(self._state.workflows[stage.key.workflow], stage).options:
            if option.model == model and option.kind == kind:
                return option
        raise ContextLimitError(f"the prompt leaves no room for output in the context of {model!r}")

    def start(
        self, stage: StageRecord, accelerator: AcceleratorRecord, option: RunOption, now: float, outcome: Outcome
    ) -> None:
        """Takes the place and sends the attempt."""
        spec, workflow = _llm(stage), self._state.workflows[stage.key.workflow]
        replica = accelerator.replicas[option.model]
        fitted = stage.prompts.pop(option.model)
        stage.prompts.clear()
        stage.attempts += 1
        attempt = self._attempt(stage, accelerator, option, fitted, replica.generation, now)
        stage.attempt, stage.last_attempt_id = attempt, attempt.id
        stage.model, stage.accelerator = option.model, accelerator.spec.name
        accelerator.running[stage.key] = attempt
        replica.last_used_s = now
        self._state.attempts[attempt.id] = stage.key
        self._lifecycle.record_start(stage, now, outcome)
        outcome.effects.append(
            ExecuteAttempt(
                node=accelerator.node,
                accelerator=accelerator.spec.name,
                model=option.model,
                generation=replica.generation,
                key=stage.key,
                attempt_id=attempt.id,
                messages=fitted.messages,
                sampling=spec.sampling,
                max_tokens=fitted.output_tokens,
                priority=workflow.spec.priority,
                kv_bytes=option.kv_bytes,
            )
        )

    def fail_for_context(self, stage: StageRecord, error: ContextLimitError, now: float, outcome: Outcome) -> None:
        """The stage can never run as it is."""
        self._lifecycle.fail_stage(stage, Reason.CONTEXT_LIMIT, str(error), now, outcome)

    def _attempt(
        self,
        stage: StageRecord,
        accelerator: AcceleratorRecord,
        option: RunOption,
        fitted: FittedPrompt,
        generation: int,
        now: float,
    ) -> Attempt:
        """The attempt's id tells stage and number: the same try is the same attempt, whoever sends it."""
        model = self._state.config.fleet.models[option.model]
        forecast = self._costing.cost(self._state.workflows[stage.key.workflow], stage).forecasts[option.model]
        quantile, longest = self._state.config.reservation_quantile, _llm(stage).max_tokens
        tokens = reservation_tokens(model, forecast, fitted.prompt_tokens, longest, quantile)
        return Attempt(
            id=f"{stage.key}/{stage.attempts}",
            accelerator=accelerator.spec.name,
            model=option.model,
            generation=generation,
            kv_bytes=option.kv_bytes,
            kv_tokens=tokens,
            sent_at_s=now,
            expected_end_s=now + option.duration_s,
            latest_end_s=now + option.duration_p90_s,
        )

    def _fit(self, stage: StageRecord, model: str) -> FittedPrompt:
        """The prompt with its predecessors' outputs in it."""
        spec, workflow = _llm(stage), self._state.workflows[stage.key.workflow]
        rules = self._state.config.prompts[model]
        return fit_context(
            spec.messages,
            {other.key.stage: other.output for other in workflow.stages.values()},
            rules.special_tokens,
            policy=spec.context_policy,
            context_tokens=self._state.config.fleet.models[model].context_tokens,
            max_tokens=spec.max_tokens,
            count=rules.count,
        )


def _llm(stage: StageRecord) -> LlmStage:
    """The stage's call; only LLM stages come here."""
    if not isinstance(stage.spec, LlmStage):
        raise TypeError(f"{stage.key} is no LLM stage")
    return stage.spec
