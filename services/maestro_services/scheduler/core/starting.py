"""Begins attempts: the prompt is rendered, the place is taken, and the command goes out once the start is durable."""

from __future__ import annotations

from maestro.performance import reservation_tokens
from maestro.prompt import FittedPrompt
from maestro.snapshot import RunOption
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord, Attempt
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import ExecuteAttempt, Outcome
from maestro_services.scheduler.core.records import StageRecord
from maestro_services.scheduler.core.state import SchedulerState
from maestro_services.scheduler.core.suitability import Suitability


class Starter:
    """Prepares and begins attempts of ready LLM stages."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, costing: Costing, suitability: Suitability) -> None:
        """The parts it works on; it owns none of them."""
        self._state = state
        self._lifecycle = lifecycle
        self._costing = costing
        self._suitability = suitability

    def option(self, stage: StageRecord, model: str, kind: str, now: float, outcome: Outcome) -> RunOption | None:
        """How the stage runs as ``model`` on ``kind``, with its prompt counted.

        None where it cannot: then it has lost its place, and waits for one as another model or has failed.
        """
        if self._suitability.fits(stage, model):
            for option in self._costing.cost(self._state.workflows[stage.key.workflow], stage).options:
                if option.model == model and option.kind == kind:
                    return option
        self._suitability.withdraw(stage, now, outcome)
        return None

    def start(
        self, stage: StageRecord, accelerator: AcceleratorRecord, option: RunOption, now: float, outcome: Outcome
    ) -> None:
        """Takes the place and sends the attempt."""
        spec, workflow = stage.llm, self._state.workflows[stage.key.workflow]
        replica = accelerator.replicas[option.model]
        fitted = stage.prompts.pop(option.model)
        stage.prompts.clear()
        stage.attempts += 1
        attempt = self._attempt(stage, accelerator, option, fitted, replica.generation, now)
        stage.attempt, stage.last_attempt_id = attempt, attempt.id
        stage.model, stage.accelerator = option.model, accelerator.spec.name
        stage.peers = accelerator.peers(option.model)
        accelerator.begin(stage.key, attempt)
        replica.last_used_s = now
        self._state.fairness.count_start(workflow, option.duration_s, now)
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

    def _attempt(
        self,
        stage: StageRecord,
        accelerator: AcceleratorRecord,
        option: RunOption,
        fitted: FittedPrompt,
        generation: int,
        now: float,
    ) -> Attempt:
        """The attempt's id tells stage, epoch and number.

        An attempt that a power failure made forgotten may still run: under another epoch none is taken for it.
        """
        model = self._state.config.fleet.models[option.model]
        forecast = self._costing.cost(self._state.workflows[stage.key.workflow], stage).forecasts[option.model]
        quantile, longest = self._state.config.reservation_quantile, stage.llm.max_tokens
        tokens = reservation_tokens(model, forecast, fitted.prompt_tokens, longest, quantile)
        return Attempt(
            id=f"{stage.key}/{self._state.epoch}.{stage.attempts}",
            accelerator=accelerator.spec.name,
            model=option.model,
            generation=generation,
            kv_bytes=option.kv_bytes,
            kv_tokens=tokens,
            sent_at_s=now,
            expected_end_s=now + option.duration_s,
            latest_end_s=now + option.duration_p90_s,
        )
