"""Predicted costs of stages: forecasts, run options, tails, and the deadline of a workflow that came without one."""

from __future__ import annotations

from maestro.costs import LengthFeatures, LengthForecast
from maestro.performance import run_options
from maestro.workflow import LlmStage, ToolStage, WorkflowSpec
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.records import StageCost, StageRecord, WorkflowRecord
from maestro_solver.predictor import LengthPredictor

CHARS_PER_TOKEN = 3.2
MESSAGE_OVERHEAD_TOKENS = 8


def estimated_tokens(chars: int, messages: int) -> int:
    """Tokens of a prompt of ``chars`` characters in ``messages`` messages, by the rule of thumb."""
    return round(chars / CHARS_PER_TOKEN) + MESSAGE_OVERHEAD_TOKENS * messages


class Costing:
    """Turns stages into predicted costs. Its only state is the predictor's."""

    def __init__(self, config: CoreConfig, predictor: LengthPredictor) -> None:
        """``config`` gives the models and the kinds of accelerators that exist."""
        self._models = config.fleet.models
        self._kinds = tuple(
            dict.fromkeys(a.kind for c in config.fleet.clusters for n in c.nodes for a in n.accelerators)
        )
        self._reference_kind = config.reference_kind
        self._quantile = config.reservation_quantile
        self._tool_expected_s = config.tool_expected_s
        self._predictor = predictor

    def features(self, spec: LlmStage, app: str, model: str, prompt_tokens: int) -> LengthFeatures:
        """What the predictor is asked with."""
        return LengthFeatures(app, spec.role, spec.phase, model, prompt_tokens, spec.max_tokens)

    def price(self, spec: LlmStage, app: str, prompt_tokens: int) -> StageCost:
        """The cost of an LLM stage with a prompt of ``prompt_tokens``."""
        forecasts = {name: self._forecast(spec, app, name, prompt_tokens) for name in spec.models}
        models = [self._models[name] for name in spec.models]
        options = run_options(models, forecasts, prompt_tokens, spec.max_tokens, self._kinds, self._quantile)
        on_reference = [o.duration_s for o in options if o.kind == self._reference_kind]
        typical_s = on_reference[0] if on_reference else min((o.duration_s for o in options), default=0.0)
        return StageCost(options, forecasts, prompt_tokens, typical_s)

    def price_workflow(self, workflow: WorkflowRecord) -> None:
        """Prices every stage that has no cost yet, and all tails."""
        for stage in workflow.stages.values():
            if isinstance(stage.spec, LlmStage) and stage.cost is None:
                stage.cost = self.price(stage.spec, workflow.spec.app, self.prompt_estimate(stage.spec, workflow))
        self.retail(workflow)

    def prompt_estimate(self, spec: LlmStage, workflow: WorkflowRecord) -> int:
        """Tokens the prompt will have: its own text, and for each predecessor its output or what is forecast of it."""
        chars = sum(len(message.content) for message in spec.messages)
        tokens = estimated_tokens(chars, len(spec.messages))
        for before in spec.after:
            record = workflow.stages[before]
            if record.usage is not None:
                tokens += record.usage.completion_tokens
            elif record.output:
                tokens += estimated_tokens(len(record.output), 0)
            elif isinstance(record.spec, LlmStage):
                forecast = next(iter(record.cost.forecasts.values())) if record.cost else None
                tokens += round(forecast.p50_tokens) if forecast else record.spec.max_tokens // 2
        return tokens

    def retail(self, workflow: WorkflowRecord) -> None:
        """Recomputes the tails: the longest predicted path from each stage's start to the end, in seconds."""
        for stage_id in reversed(workflow.spec.topological_order):
            stage = workflow.stages[stage_id]
            after = workflow.spec.successors[stage_id]
            stage.tail_s = self.typical_s(stage) + max((workflow.stages[s].tail_s for s in after), default=0.0)

    def typical_s(self, stage: StageRecord) -> float:
        """Predicted seconds of one stage on the reference accelerator, hot and alone."""
        if isinstance(stage.spec, ToolStage):
            return self.tool_s(stage.spec)
        return stage.cost.typical_s if stage.cost else 0.0

    def tool_s(self, spec: ToolStage) -> float:
        """How long a tool stage takes, or is expected to take."""
        if spec.duration_s is not None:
            return spec.duration_s
        return spec.expected_s if spec.expected_s is not None else self._tool_expected_s

    def deadline_s(self, spec: WorkflowSpec, accepted_at_s: float, critical_path_s: float, factor: float) -> float:
        """The instant a workflow is due: as the client says, or its critical path times the class's factor."""
        if spec.deadline is not None:
            return spec.deadline.timestamp()
        if spec.deadline_after_s is not None:
            return accepted_at_s + spec.deadline_after_s
        return accepted_at_s + factor * critical_path_s

    def _forecast(self, spec: LlmStage, app: str, model: str, prompt_tokens: int) -> LengthForecast:
        return self._predictor.forecast(self.features(spec, app, model, prompt_tokens)).capped(spec.max_tokens)
