"""Which of a scenario's models runs which role of a workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec
from maestro.trace import TraceCall
from maestro_services.simulation.workload.template import Template

Pair = tuple[str, str]
"""An app and a role."""

ModelsMap = Mapping[Pair, str]


def spread(templates: Iterable[Template], models: Mapping[str, ModelSpec]) -> dict[Pair, str]:
    """The default map: pairs in order of their output, each to the model with the least so far for its speed.

    A pair whose prompts fit some models' contexts goes to one of those.
    """
    output: dict[Pair, int] = defaultdict(int)
    longest: dict[Pair, int] = defaultdict(int)
    for template in templates:
        for stage in template.stages:
            pair = (template.app, stage.role)
            output[pair] += stage.output_tokens
            longest[pair] = max(longest[pair], stage.prompt_tokens + stage.output_tokens)
    taken = dict.fromkeys(models, 0.0)
    chosen: dict[Pair, str] = {}
    for pair in sorted(output, key=lambda found: (-output[found], found)):
        fitting = [name for name, model in models.items() if longest[pair] < model.context_tokens] or list(models)
        chosen[pair] = min(fitting, key=lambda name: ((taken[name] + output[pair]) / _speed(models[name]), name))
        taken[chosen[pair]] += output[pair]
    return chosen


def recorded(calls: Iterable[TraceCall], models: Mapping[str, ModelSpec]) -> dict[Pair, str]:
    """The pairs of a trace whose calls all ran as one and the same of these models."""
    ran_as: dict[Pair, set[str]] = defaultdict(set)
    for call in calls:
        ran_as[call.app, call.role].add(call.model)
    return {pair: name for pair, found in ran_as.items() if len(found) == 1 and (name := next(iter(found))) in models}


def parse(text: str, models: Mapping[str, ModelSpec]) -> dict[Pair, str]:
    """A map as it is written: ``app/role=model,app/role=model``. Raises InvalidInputError."""
    found: dict[Pair, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        pair, _, model = entry.rpartition("=")
        app, slash, role = pair.partition("/")
        if not slash or not model:
            raise InvalidInputError("models-map", "has an entry that is not app/role=model", value=entry)
        if model not in models:
            raise InvalidInputError(
                "models-map", "names an unknown model", value=model, remedy=f"use one of {', '.join(models)}"
            )
        found[app, role] = model
    return found


def _speed(model: ModelSpec) -> float:
    """Decode tokens a second on the model's kinds of accelerators, on average."""
    return sum(speed.decode_tokens_per_s for speed in model.speeds.values()) / len(model.speeds)
