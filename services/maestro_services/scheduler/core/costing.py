"""Predicted costs of stages: run options, tails, and the deadline of a workflow that came without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maestro.fleet import ModelSpec
from maestro.performance import decode_s, run_options, stage_s
from maestro.prompt import FittedPrompt
from maestro.snapshot import RunOption, StageKey
from maestro.status import TokenUsage
from maestro.workflow import ContextPolicy, LlmStage, ToolStage, WorkflowSpec
from maestro_services.scheduler.core.accelerator_records import Attempt
from maestro_services.scheduler.core.config import CoreConfig
from maestro_services.scheduler.core.lengths import RoleLengths, StageCall
from maestro_services.scheduler.core.pace import Pace
from maestro_services.scheduler.core.prompts import PromptSource, estimated_tokens
from maestro_services.scheduler.core.records import Misfit, StageCost, StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState


class Costing:
    """Turns stages into predicted costs. Its only state is the pace of engines under load."""

    def __init__(self, config: CoreConfig, lengths: RoleLengths, prompts: PromptSource) -> None:
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
        self._lengths = lengths

    def estimate(self, workflow: WorkflowRecord) -> None:
        """Gives every stage its expected prompt, its typical time and its tail: what a deadline is derived from."""
        calls: list[StageCall] = []
        for stage_id in workflow.spec.topological_order:
            stage = workflow.stages[stage_id]
            if isinstance(stage.spec, LlmStage):
                stage.prompt_tokens = self._expected_prompt(stage.spec, workflow)
                first = StageCall(workflow, stage, stage.spec.models[0], stage.prompt_tokens)
                stage.expected_tokens = self._lengths.by_role(first.features).p50_tokens
                calls += self._calls(workflow, stage)
        self._lengths.look_ahead(calls)
        for stage in workflow.stages.values():
            if isinstance(stage.spec, LlmStage):
                self._expect(workflow, stage)
            else:
                stage.typical_s = self.tool_s(stage.spec)
        for stage_id in reversed(workflow.spec.topological_order):
            stage, after = workflow.stages[stage_id], workflow.spec.successors[stage_id]
            stage.tail_s = stage.typical_s + max((workflow.stages[s].tail_s for s in after), default=0.0)
        workflow.expect()

    def cost(self, workflow: WorkflowRecord, stage: StageRecord) -> StageCost:
        """How the stage can run and what is forecast of it; computed when it is first asked for."""
        if stage.cost is None:
            stage.cost = self._price(workflow, stage)
        return stage.cost

    def look_at(self, state: SchedulerState, keys: Iterable[StageKey]) -> list[StageKey]:
        """Stages that have become ready are forecast together; those of which more is known now than before."""
        found = [(state.workflows[key.workflow], stage) for key in keys if (stage := state.stage(key)) is not None]
        if not self._lengths.look_at([call for workflow, stage in found for call in self._calls(workflow, stage)]):
            return []
        for workflow, stage in found:
            stage.cost, before_s = None, stage.typical_s
            self._expect(workflow, stage)
            stage.tail_s += stage.typical_s - before_s
            workflow.remaining_work_s = max(0.0, workflow.remaining_work_s + stage.typical_s - before_s)
        return [stage.key for _, stage in found]

    def counted(self, workflow: WorkflowRecord, stage: StageRecord, model: str, fitted: FittedPrompt) -> None:
        """The prompt is known to the token as ``model`` reads it. Others see the same text, if none of it was cut."""
        expected = _prompt_as(self._models[model], stage)
        stage.prompts[model] = fitted
        is_new = self._lengths.count(StageCall(workflow, stage, model, fitted.prompt_tokens), expected)
        if not fitted.cut_chars:
            stage.prompt_tokens = fitted.prompt_tokens
        if is_new or fitted.prompt_tokens != expected or len(stage.llm.models) > 1:
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

    def left_s(self, stage: StageRecord, attempt: Attempt, kind: str) -> tuple[float, float] | None:
        """Seconds that a running attempt will still take, given what it has produced: as likely as not, and p90.

        None where nothing is known of how it goes on: none of its tokens was seen, or it is beyond all foresight.
        """
        tokens = attempt.produced_tokens
        forecast = self._lengths.alive(stage.key, attempt.model, tokens) if tokens else None
        if forecast is None or forecast.p90_tokens <= tokens:
            return None
        speed, pace = self._models[attempt.model].speeds[kind], self.pace.of(attempt.model, kind)
        left = (max(0.0, quantile - tokens) for quantile in (forecast.p50_tokens, forecast.p90_tokens))
        median_s, upper_s = (decode_s(speed, tokens_left) * pace for tokens_left in left)
        return median_s, upper_s

    def _price(self, workflow: WorkflowRecord, stage: StageRecord) -> StageCost:
        spec, calls = stage.llm, self._calls(workflow, stage)
        forecasts = self._lengths.of(calls)
        options: list[RunOption] = []
        for call in calls:
            options += run_options(
                [self._models[call.model]],
                forecasts,
                call.prompt_tokens,
                spec.max_tokens,
                self._kinds,
                self._quantile,
            )
        return StageCost(tuple(self._paced(option) for option in options), forecasts)

    def _calls(self, workflow: WorkflowRecord, stage: StageRecord) -> Sequence[StageCall]:
        """The stage as each of the models that it may turn out to run as."""
        names = [name for name in stage.llm.models if name in self._models and name not in stage.misfits]
        return [StageCall(workflow, stage, name, _prompt_as(self._models[name], stage)) for name in names]

    def _expect(self, workflow: WorkflowRecord, stage: StageRecord) -> None:
        """The stage's typical length and time are those of its most wanted model, as forecast by now."""
        first = StageCall(workflow, stage, stage.llm.models[0], stage.prompt_tokens)
        stage.expected_tokens = self._lengths.of([first])[first.model].p50_tokens
        stage.typical_s = self._typical_s(stage)

    def _paced(self, option: RunOption) -> RunOption:
        """The option with the times that engines lately took."""
        pace = self.pace.of(option.model, option.kind)
        return RunOption(
            option.model, option.kind, option.duration_s * pace, option.duration_p90_s * pace, option.kv_bytes
        )

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


def _prompt_as(model: ModelSpec, stage: StageRecord) -> int:
    """Tokens of the stage's prompt as ``model``: counted, or expected within what the context policy can let through.

    An estimate alone never says that a stage cannot run.
    """
    if model.name in stage.prompts:
        return stage.prompts[model.name].prompt_tokens
    if stage.llm.context_policy is ContextPolicy.TRUNCATE_OLDEST:
        return min(stage.prompt_tokens, max(1, model.context_tokens - stage.llm.max_tokens))
    return min(stage.prompt_tokens, model.context_tokens - 1)
