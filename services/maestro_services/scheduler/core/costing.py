"""Predicted costs of stages: forecasts, run options, tails, and the deadline of a workflow that came without one."""

from __future__ import annotations

from dataclasses import replace

from maestro.costs import LengthFeatures, LengthForecast
from maestro.fleet import ModelSpec
from maestro.performance import run_options, stage_s
from maestro.prompt import FittedPrompt
from maestro.snapshot import RunOption
from maestro.status import TokenUsage
from maestro.workflow import ContextPolicy, LlmStage, ToolStage, WorkflowSpec
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.prompts import PromptSource, estimated_tokens
from maestro_services.scheduler.core.records import Misfit, StageCost, StageRecord, WorkflowRecord
from maestro_solver.predictor import LengthPredictor


class Costing:
    """Turns stages into predicted costs. Its only state is the predictor's, and the pace of engines under load."""

    def __init__(self, config: CoreConfig, predictor: LengthPredictor, prompts: PromptSource) -> None:
        """``config`` gives the models and the kinds of accelerators that exist, ``prompts`` says how long texts are."""
        self._prompts = prompts
        self.pace = Pace()
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
                stage.typical_s = self._typical_s(stage)
            else:
                stage.typical_s = self.tool_s(stage.spec)
        for stage_id in reversed(workflow.spec.topological_order):
            stage, after = workflow.stages[stage_id], workflow.spec.successors[stage_id]
            stage.tail_s = stage.typical_s + max((workflow.stages[s].tail_s for s in after), default=0.0)
        workflow.expect()

    def cost(self, workflow: WorkflowRecord, stage: StageRecord) -> StageCost:
        """How the stage can run and what is forecast of it; computed when it is first asked for."""
        if stage.cost is None:
            stage.cost = self._price(workflow.spec.app, stage)
        return stage.cost

    def counted(self, stage: StageRecord, model: str, fitted: FittedPrompt) -> None:
        """The prompt is known to the token as ``model`` reads it. Others see the same text, if none of it was cut."""
        expected = _prompt_as(self._models[model], stage)
        stage.prompts[model] = fitted
        if not fitted.cut_chars:
            stage.prompt_tokens = fitted.prompt_tokens
        if fitted.prompt_tokens != expected or len(stage.llm.models) > 1:
            stage.cost = None

    def exclude(self, stage: StageRecord, model: str, misfit: Misfit) -> None:
        """The stage cannot run as ``model``."""
        stage.misfits[model], stage.cost = misfit, None

    def reprice(self, stage: StageRecord, prompt_tokens: int) -> None:
        """The prompt is known better than before."""
        if prompt_tokens != stage.prompt_tokens:
            stage.prompt_tokens, stage.cost = prompt_tokens, None

    def reprice_ready(self, workflow: WorkflowRecord, stage: StageRecord) -> None:
        """All predecessors have ended: what they quote has its true length."""
        if isinstance(stage.spec, LlmStage) and stage.spec.after:
            self.reprice(stage, self._expected_prompt(stage.spec, workflow))

    def observe_pace(self, model: str, kind: str, usage: TokenUsage, measured_s: float) -> None:
        """A stage of these lengths has taken ``measured_s`` in an engine."""
        speed = self._models[model].speeds[kind]
        self.pace.observe(model, kind, stage_s(speed, usage.prompt_tokens, usage.completion_tokens), measured_s)

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

    def _price(self, app: str, stage: StageRecord) -> StageCost:
        spec = stage.llm
        models = [self._models[name] for name in spec.models if name in self._models and name not in stage.misfits]
        forecasts = {model.name: self._forecast(spec, app, model.name) for model in models}
        options: list[RunOption] = []
        for model in models:
            tokens = _prompt_as(model, stage)
            options += run_options([model], forecasts, tokens, spec.max_tokens, self._kinds, self._quantile)
        return StageCost(tuple(self._paced(option) for option in options), forecasts)

    def _paced(self, option: RunOption) -> RunOption:
        """The option with the times that engines lately took."""
        pace = self.pace.of(option.model, option.kind)
        return replace(option, duration_s=option.duration_s * pace, duration_p90_s=option.duration_p90_s * pace)

    def _expected_prompt(self, spec: LlmStage, workflow: WorkflowRecord) -> int:
        """Tokens the prompt will have: its own text, and for each predecessor its output or what is expected of it."""
        tokens = self._prompts.own_tokens(spec)
        for before in spec.after:
            record = workflow.stages[before]
            if record.usage is not None:
                tokens += record.usage.completion_tokens
            elif record.output:
                tokens += estimated_tokens(len(record.output), 0)
            else:
                tokens += round(record.expected_tokens)
        return tokens

    def _typical_s(self, stage: StageRecord) -> float:
        """Seconds as the most wanted model that can be served, hot and alone; 0 where none can.

        That is on the reference accelerator, or else on the first kind of the scenario's that serves the model.
        """
        for name in stage.llm.models:
            speeds = self._models[name].speeds if name in self._models else {}
            for kind in (self._reference_kind, *self._kinds):
                if kind in speeds:
                    return stage_s(speeds[kind], _prompt_as(self._models[name], stage), stage.expected_tokens)
        return 0.0

    def _forecast(self, spec: LlmStage, app: str, model: str) -> LengthForecast:
        return self._predictor.forecast(self.features(spec, app, model, 0))


def _prompt_as(model: ModelSpec, stage: StageRecord) -> int:
    """Tokens of the stage's prompt as ``model``: counted, or expected within what the context policy can let through.

    An estimate alone never says that a stage cannot run.
    """
    if model.name in stage.prompts:
        return stage.prompts[model.name].prompt_tokens
    if stage.llm.context_policy is ContextPolicy.TRUNCATE_OLDEST:
        return min(stage.prompt_tokens, max(1, model.context_tokens - stage.llm.max_tokens))
    return min(stage.prompt_tokens, model.context_tokens - 1)
