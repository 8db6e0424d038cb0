"""Every model can be resident on some accelerator, and its KV pool holds at least one full context."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec, ModelSpec
from maestro.problem import Problem
from maestro.scenario.root import Scenario
from maestro.units import format_bytes


def check_fit(scenario: Scenario) -> Iterator[Problem]:
    """Yield the problems of each model's memory; a figure that cannot be derived is one of them."""
    accelerators = {spec.name: spec for spec in scenario.fleet.accelerators()}
    for index, section in enumerate(scenario.models):
        try:
            model = section.spec()
        except InvalidInputError as error:
            yield Problem(("models", index, error.field), error.problem, remedy=error.remedy)
            continue
        yield from _check_pool(index, model, accelerators)
        yield from _check_some_accelerator(index, model, accelerators)
        for position, name in enumerate(section.pinned_on):
            if name in accelerators and not _fits(model, accelerators[name]):
                yield Problem(
                    ("models", index, "pinned_on", position),
                    f"{model.name} needs {format_bytes(_resident_bytes(model, accelerators[name]))}, "
                    f"and {name} has {format_bytes(accelerators[name].memory_bytes)}",
                )


def _check_pool(index: int, model: ModelSpec, accelerators: dict[str, AcceleratorSpec]) -> Iterator[Problem]:
    """Require a pool that holds one sequence of full length: vLLM refuses to start with less."""
    needed = model.context_tokens * model.kv_bytes_per_token
    fixed = any(not spec.kv_elastic and spec.kind in model.speeds for spec in accelerators.values())
    if fixed and model.kv_pool_bytes < needed:
        yield Problem(
            ("models", index, "kv_pool"),
            f"holds less than one context of {model.context_tokens} tokens ({format_bytes(needed)})",
            format_bytes(model.kv_pool_bytes),
            "raise kv_pool or lower context_tokens",
        )


def _check_some_accelerator(
    index: int, model: ModelSpec, accelerators: dict[str, AcceleratorSpec]
) -> Iterator[Problem]:
    """Require at least one accelerator that can hold the model, of a kind it has speeds for."""
    usable = [spec for spec in accelerators.values() if spec.kind in model.speeds]
    if usable and not any(_fits(model, spec) for spec in usable):
        largest = max(usable, key=lambda spec: spec.memory_bytes)
        yield Problem(
            ("models", index),
            f"{model.name} fits no accelerator: weights, overhead and KV pool take "
            f"{format_bytes(_resident_bytes(model, largest))}, the largest one it has speeds for "
            f"({largest.name}) has {format_bytes(largest.memory_bytes)}",
            remedy="lower kv_pool, quantise the model, or add a larger accelerator and speeds for its kind",
        )


def _fits(model: ModelSpec, accelerator: AcceleratorSpec) -> bool:
    return _resident_bytes(model, accelerator) <= accelerator.memory_bytes


def _resident_bytes(model: ModelSpec, accelerator: AcceleratorSpec) -> int:
    """Return what a replica takes, with room for its pool, or where KV is elastic for one full context."""
    kv_bytes = model.context_tokens * model.kv_bytes_per_token if accelerator.kv_elastic else model.kv_pool_bytes
    return model.fixed_bytes + kv_bytes
