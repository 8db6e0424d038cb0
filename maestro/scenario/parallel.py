"""A tensor-parallel model finds its accelerators: enough of one kind on one node, the first of them where pinned."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.document import KeyPath
from maestro.fleet import AcceleratorSpec
from maestro.problem import Problem
from maestro.scenario.models import ModelSection
from maestro.scenario.root import Scenario
from maestro.scenario.weights import ModelFolder


def groups_of(scenario: Scenario, model: ModelSection) -> list[tuple[AcceleratorSpec, ...]]:
    """The accelerators that a replica of the model can take at once, of kinds that it has speeds for."""
    size, kinds = model.tensor_parallel_size, model.speeds
    return [group for node in scenario.nodes.values() for group in node.spec.groups_of(size, kinds)]


def check_parallel(scenario: Scenario) -> Iterator[Problem]:
    """Yield what is wrong with models that take several accelerators, and with where such a model is pinned."""
    kinds = {spec.name: spec.kind for spec in scenario.fleet.accelerators()}
    for index, model in enumerate(scenario.models):
        groups = groups_of(scenario, model)
        if not groups and any(kind in model.speeds for kind in kinds.values()):
            yield _too_many(scenario, index, model)
        firsts = [group[0].name for group in groups]
        for position, name in enumerate(model.pinned_on):
            if firsts and kinds.get(name) in model.speeds and name not in firsts:
                path: KeyPath = ("models", index, "pinned_on", position)
                size = model.tensor_parallel_size
                yield Problem(path, f"begins no group of {size}", name, f"name one of: {', '.join(firsts)}")
        yield from _check_alike(index, groups)
        yield from _check_heads(index, model)


def _too_many(scenario: Scenario, index: int, model: ModelSection) -> Problem:
    """The largest size that there are accelerators for, as a remedy."""
    nodes = scenario.nodes.values()
    counts = [
        sum(spec.kind == kind for spec in node.spec.accelerators) for kind in sorted(model.speeds) for node in nodes
    ]
    return Problem(
        ("models", index, "tensor_parallel_size"),
        "is more than any node has accelerators of one kind that the model has speeds for",
        model.tensor_parallel_size,
        f"at most {max(counts)}, or give a node more",
    )


def _check_heads(index: int, model: ModelSection) -> Iterator[Problem]:
    """Require heads that can be shared out whole, as engines do, where the model's files are on this machine."""
    size, counts = model.tensor_parallel_size, ModelFolder(model.path).head_counts()
    if size > 1 and counts is not None and not _shares_out(size, *counts):
        fitting = [str(each) for each in range(1, counts[0] + 1) if _shares_out(each, *counts)]
        yield Problem(
            ("models", index, "tensor_parallel_size"),
            f"cannot share out {counts[0]} attention heads and {counts[1]} key-value heads",
            size,
            f"use one of: {', '.join(fitting)}",
        )


def _shares_out(size: int, heads: int, kv_heads: int) -> bool:
    """Whether each rank gets equally many heads; fewer key-value heads than ranks are kept several times."""
    return heads % size == 0 and max(size, kv_heads) % min(size, kv_heads) == 0


def _check_alike(index: int, groups: list[tuple[AcceleratorSpec, ...]]) -> Iterator[Problem]:
    """Require that accelerators which one replica takes agree on whose the KV memory is, and on what they are."""
    for group in groups:
        names = ", ".join(spec.name for spec in group)
        for key in ("kv_elastic", "cpu_cores"):
            if len({bool(getattr(spec, key)) for spec in group}) > 1:
                yield Problem(
                    ("models", index, "tensor_parallel_size"),
                    f"a replica would take {names}, which differ in {key}",
                    remedy=f"set {key} on all of them or on none",
                )
                return
