"""Every model can be resident on some accelerators, and its KV pool holds at least one full context."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec, ModelSpec
from maestro.problem import Problem
from maestro.scenario.parallel import groups_of
from maestro.scenario.root import Scenario
from maestro.units import format_bytes

_Group = tuple[AcceleratorSpec, ...]


def check_fit(scenario: Scenario) -> Iterator[Problem]:
    """Yield the problems of each model's memory; a figure that cannot be derived is one of them."""
    for index, section in enumerate(scenario.models):
        try:
            model = section.spec()
        except InvalidInputError as error:
            yield Problem(("models", index, error.field), error.problem, remedy=error.remedy)
            continue
        groups = groups_of(scenario, section)
        yield from _check_pool(index, model, groups)
        yield from _check_some_group(index, model, groups)
        yield from _check_pins(index, model, {group[0].name: group for group in groups}, section.pinned_on)


def _check_pool(index: int, model: ModelSpec, groups: list[_Group]) -> Iterator[Problem]:
    """Require a pool that holds one sequence of full length: vLLM refuses to start with less."""
    needed = model.context_tokens * model.kv_bytes_per_token
    fixed = any(not group[0].kv_elastic for group in groups)
    if fixed and model.kv_pool_bytes < needed:
        yield Problem(
            ("models", index, "kv_pool"),
            f"holds less than one context of {model.context_tokens} tokens ({format_bytes(needed)})",
            format_bytes(model.kv_pool_bytes),
            "raise kv_pool or lower context_tokens",
        )


def _check_some_group(index: int, model: ModelSpec, groups: list[_Group]) -> Iterator[Problem]:
    """Require at least one place that can hold the model, of a kind it has speeds for."""
    if groups and not any(_fits(model, group) for group in groups):
        largest = max((_smallest(group) for group in groups), key=lambda spec: spec.memory_bytes)
        each = f" on each of {model.tensor_parallel_size}" if model.tensor_parallel_size > 1 else ""
        yield Problem(
            ("models", index),
            f"{model.name} fits no accelerator: weights, overhead and KV pool take "
            f"{format_bytes(_resident_bytes(model, largest))}{each}, the largest one it has speeds for "
            f"({largest.name}) has {format_bytes(largest.memory_bytes)}",
            remedy="lower kv_pool, quantise the model, raise tensor_parallel_size, or add a larger accelerator and "
            "speeds for its kind",
        )


def _check_pins(
    index: int, model: ModelSpec, groups: dict[str, _Group], pinned_on: tuple[str, ...]
) -> Iterator[Problem]:
    """Require that the model fits where it is pinned."""
    for position, name in enumerate(pinned_on):
        if name in groups and not _fits(model, groups[name]):
            spec = _smallest(groups[name])
            yield Problem(
                ("models", index, "pinned_on", position),
                f"{model.name} needs {format_bytes(_resident_bytes(model, spec))}, "
                f"and {spec.name} has {format_bytes(spec.memory_bytes)}",
            )


def _fits(model: ModelSpec, group: _Group) -> bool:
    return all(_resident_bytes(model, spec) <= spec.memory_bytes for spec in group)


def _smallest(group: _Group) -> AcceleratorSpec:
    return min(group, key=lambda spec: spec.memory_bytes)


def _resident_bytes(model: ModelSpec, accelerator: AcceleratorSpec) -> int:
    """What a replica takes of each of its accelerators, its pool, or where KV is elastic one full context, included."""
    kv_bytes = model.context_tokens * model.kv_bytes_per_token if accelerator.kv_elastic else model.kv_pool_bytes
    return model.resident_share_bytes(kv_bytes)
