"""Turns shapes and instants into workflows that arrive, with their deadlines and the truth about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from maestro.fleet import ModelSpec
from maestro.performance import stage_s
from maestro.workflow import ContextPolicy, LlmStage, Stage, ToolStage, WorkflowSpec
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.prompts import SizedStage
from maestro_services.simulation.workload.models_map import ModelsMap
from maestro_services.simulation.workload.template import Template, TemplateStage
from maestro_services.simulation.workload.truth import Arrival, Truth

DEADLINE_FACTORS: Mapping[str, float] = {"interactive": 2.0, "standard": 4.0, "batch": 10.0}
"""By service level: a deadline as a multiple of the isolated true critical path."""

CLASS_SHARES: Mapping[str, float] = {"interactive": 0.4, "standard": 0.4, "batch": 0.2}

MAX_TOKENS = 4096
"""Bound on an output; longer ones are cut. A model whose context is short has half of it as its bound."""


@dataclass(frozen=True, slots=True)
class WorkloadModel:
    """What makes workflows out of shapes.

    ``reference_kind``: the kind of accelerator that deadlines are measured on. ``tells_truth``: each stage's phase
    names the stage, so that an oracle knows which one it is asked about.
    """

    templates: Sequence[Template]
    models_map: ModelsMap
    models: Mapping[str, ModelSpec]
    reference_kind: str
    engine_model: EngineModel
    tells_truth: bool = False


def workflows(model: WorkloadModel, instants: Iterator[float], seed: int) -> Iterator[Arrival]:
    """A workflow for every instant; equal seeds give equal workflows, whatever the instants are."""
    random = Random(f"workflows/{seed}")  # noqa: S311 - a simulation, no secret
    for index, at_s in enumerate(instants):
        template = random.choice(model.templates)
        slo_class = random.choices(list(CLASS_SHARES), list(CLASS_SHARES.values()))[0]
        yield _workflow(model, template, slo_class, f"w{index}", at_s, random)


def _workflow(
    model: WorkloadModel, template: Template, slo_class: str, name: str, at_s: float, random: Random
) -> Arrival:
    stages: list[Stage] = []
    truths: dict[str, Truth] = {}
    quoted = {
        stage.id: min(stage.output_tokens, _longest_output(model.models[model.models_map[template.app, stage.role]]))
        for stage in template.stages
    }
    for stage in template.stages:
        runs_as = model.models_map[template.app, stage.role]
        after = stage.parents
        if stage.pause_s > 0:
            stages.append(ToolStage(f"before-{stage.id}", "pause", after, duration_s=stage.pause_s))
            after = (f"before-{stage.id}",)
        own_tokens = stage.prompt_tokens - sum(quoted[parent] for parent in stage.parents)
        identity = f"{name}/{stage.id}" if model.tells_truth else ""
        stages.append(_stage(stage, model.models[runs_as], after, own_tokens, identity))
        truths[stage.id] = _truth(stage, model.models[runs_as], model.engine_model, random)
    path_s = _critical_path_s(stages, truths, model)
    factor = DEADLINE_FACTORS[slo_class]
    spec = WorkflowSpec(template.app, tuple(stages), slo_class=slo_class, deadline_after_s=factor * path_s)
    return Arrival(name, at_s, spec, truths, factor * path_s)


def _longest_output(model: ModelSpec) -> int:
    return min(MAX_TOKENS, max(1, model.context_tokens // 2))


def _stage(stage: TemplateStage, model: ModelSpec, after: tuple[str, ...], own_tokens: int, identity: str) -> LlmStage:
    return SizedStage(
        id=stage.id,
        role=stage.role,
        models=(model.name,),
        messages=(),
        max_tokens=_longest_output(model),
        after=after,
        phase=identity or stage.phase,
        context_policy=ContextPolicy.TRUNCATE_OLDEST,
        own_tokens=max(1, own_tokens),
        prompt_tokens=stage.prompt_tokens,
    )


def _truth(stage: TemplateStage, model: ModelSpec, noise: EngineModel, random: Random) -> Truth:
    return Truth(
        prompt_tokens=max(1, min(stage.prompt_tokens, model.context_tokens - _longest_output(model))),
        output_tokens=stage.output_tokens,
        prefill_factor=math.exp(random.gauss(0.0, noise.prefill_noise)),
        decode_factor=math.exp(random.gauss(0.0, noise.decode_noise)),
    )


def _critical_path_s(stages: list[Stage], truths: Mapping[str, Truth], model: WorkloadModel) -> float:
    """The least time in which the workflow can end: hot models, an empty fleet of the reference kind, no noise."""
    ends: dict[str, float] = {}
    for stage in stages:
        start_s = max((ends[before] for before in stage.after), default=0.0)
        if isinstance(stage, ToolStage):
            seconds = stage.duration_s or 0.0
        else:
            truth = truths[stage.id]
            speeds = model.models[stage.models[0]].speeds
            speed = speeds.get(model.reference_kind) or next(iter(speeds.values()))
            seconds = stage_s(speed, truth.prompt_tokens, min(truth.output_tokens, stage.max_tokens))
        ends[stage.id] = start_s + seconds
    return max(ends.values())
