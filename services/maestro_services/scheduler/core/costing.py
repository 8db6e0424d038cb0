"""Predicted costs of stages: forecasts, run options, tails, and the deadline of a workflow that came without one."""

from __future__ import annotations

from maestro.costs import LengthFeatures, LengthForecast
from maestro.performance import run_options, stage_s
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

    def estimate(self, workflow: WorkflowRecord) -> None:
        """Gives every stage its expected prompt, its typical time and its tail: what a deadline is derived from."""
        for stage_id in workflow.spec.topological_order:
            stage = workflow.stages[stage_id]
            if isinstance(stage.spec, LlmStage):
                stage.prompt_tokens = self._expected_prompt(stage.spec, workflow)
                stage.expected_tokens = self._forecast(stage.spec, workflow.spec.app, stage.spec.models[0]).p50_tokens
                stage.typical_s = self._typical_s(stage.spec, stage.prompt_tokens, stage.expected_tokens)
            else:
                stage.typical_s = self.tool_s(stage.spec)
        for stage_id in reversed(workflow.spec.topological_order):
            stage, after = workflow.stages[stage_id], workflow.spec.successors[stage_id]
            stage.tail_s = stage.typical_s + max((workflow.stages[s].tail_s for s in after), default=0.0)
        workflow.expect()

    def cost(self, workflow: WorkflowRecord, stage: StageRecord) -> StageCost:
        """How the stage can run and what is forecast of it; computed when it is first asked for."""
        if stage.cost is None:
            if not isinstance(stage.spec, LlmStage):
                raise TypeError(f"{stage.key} is no LLM stage")
            stage.cost = self._price(stage.spec, workflow.spec.app, stage.prompt_tokens)
        return stage.cost

    def reprice(self, stage: StageRecord, prompt_tokens: int) -> None:
        """The prompt is known better than before."""
        if prompt_tokens != stage.prompt_tokens:
            stage.prompt_tokens, stage.cost = prompt_tokens, None

    def reprice_ready(self, workflow: WorkflowRecord, stage: StageRecord) -> None:
        """All predecessors have ended: what they quote has its true length."""
        if isinstance(stage.spec, LlmStage) and stage.spec.after:
            self.reprice(stage, self._expected_prompt(stage.spec, workflow))

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

    def _price(self, spec: LlmStage, app: str, prompt_tokens: int) -> StageCost:
        forecasts = {name: self._forecast(spec, app, name) for name in spec.models}
        models = [self._models[name] for name in spec.models]
        options = run_options(models, forecasts, prompt_tokens, spec.max_tokens, self._kinds, self._quantile)
        return StageCost(options, forecasts)

    def _expected_prompt(self, spec: LlmStage, workflow: WorkflowRecord) -> int:
        """Tokens the prompt will have: its own text, and for each predecessor its output or what is expected of it."""
        chars = sum(len(message.content) for message in spec.messages)
        tokens = estimated_tokens(chars, len(spec.messages))
        for before in spec.after:
            record = workflow.stages[before]
            if record.usage is not None:
                tokens += record.usage.completion_tokens
            elif record.output:
                tokens += estimated_tokens(len(record.output), 0)
            else:
                tokens += round(record.expected_tokens)
        return tokens

    def _typical_s(self, spec: LlmStage, prompt_tokens: int, output_tokens: float) -> float:
        """Seconds as the most wanted model on the reference accelerator (or any that serves it), hot and alone."""
        speeds = self._models[spec.models[0]].speeds
        speed = speeds.get(self._reference_kind) or next(iter(speeds.values()))
        return stage_s(speed, prompt_tokens, output_tokens)

    def _forecast(self, spec: LlmStage, app: str, model: str) -> LengthForecast:
        return self._predictor.forecast(self.features(spec, app, model, 0))
