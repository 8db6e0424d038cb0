"""Accelerators that are alike, and the blocks of them that tensor-parallel replicas can take."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec, Fleet


class Place(NamedTuple):
    """An accelerator by the names of its cluster, its node and its own."""

    cluster: str
    node: str
    accelerator: str


Block = tuple[Place, ...]
"""Like neighbours of one node, as many as a replica takes; it is named by the first."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is equal of accelerators that are alike, down to the models pinned on them.

    Those of a cluster with a limit of its own are apart from others; ``limited_cluster`` None: no such limit.
    """

    limited_cluster: str | None
    kind: str
    memory_bytes: int
    slots: int
    kv_elastic: bool
    pinned: frozenset[str]


_Alike = tuple[Traits, Block]
"""What all accelerators of a group have in common.

The block is that of a pinned tensor-parallel model, which is a group of its own; else it is empty.
"""


@dataclass(frozen=True, slots=True)
class AcceleratorGroup:
    """Accelerators that are alike.

    ``blocks`` gives by size the blocks that replicas can take of them. A larger block is made up of smaller ones: each
    size divides the next.
    """

    traits: Traits
    places: tuple[Place, ...]
    blocks: Mapping[int, tuple[Block, ...]]


def group_accelerators(fleet: Fleet, demanded: Collection[str] = ()) -> tuple[AcceleratorGroup, ...]:
    """Return the fleet's accelerators, like ones together, in the fleet's order.

    There are blocks of one accelerator, and as large as the models ``demanded`` take, except where models are pinned:
    these have blocks of their own size. Raises InvalidInputError where one size does not divide a larger one.
    """
    sizes = sorted({1, *(fleet.models[name].tensor_parallel_size for name in demanded)})
    for smaller, larger in pairwise(sizes):
        if larger % smaller:
            raise InvalidInputError(
                "models", f"take {smaller} and {larger} accelerators each", remedy="use sizes that divide each other"
            )
    pinned_blocks = _pinned_blocks(fleet)
    alike = {place: _alike(fleet, spec, place, pinned_blocks) for place, spec in _accelerators(fleet)}
    return tuple(
        AcceleratorGroup(
            traits,
            places=tuple(place for place, found in alike.items() if found == (traits, pinned_block)),
            blocks={len(pinned_block): (pinned_block,)} if pinned_block else _blocks(fleet, traits, alike, sizes),
        )
        for traits, pinned_block in dict.fromkeys(alike.values())
    )


def _accelerators(fleet: Fleet) -> Iterator[tuple[Place, AcceleratorSpec]]:
    for cluster in fleet.clusters:
        for node in cluster.nodes:
            for one in node.accelerators:
                yield Place(cluster.name, node.name, one.name), one


def _all_blocks(fleet: Fleet, size: int) -> Iterator[Block]:
    """Every block of a size, whatever is pinned there."""
    for cluster in fleet.clusters:
        for node in cluster.nodes:
            for members in node.groups(size):
                yield tuple(Place(cluster.name, node.name, name) for name in members)


def _pinned_blocks(fleet: Fleet) -> dict[Place, Block]:
    """The blocks of pinned tensor-parallel models, by each of their accelerators."""
    return {
        place: block
        for model in fleet.models.values()
        if model.tensor_parallel_size > 1
        for block in _all_blocks(fleet, model.tensor_parallel_size)
        if block[0].accelerator in model.pinned_on
        for place in block
    }


def _alike(fleet: Fleet, spec: AcceleratorSpec, place: Place, pinned_blocks: Mapping[Place, Block]) -> _Alike:
    block = pinned_blocks.get(place, ())
    names = {member.accelerator for member in block} or {spec.name}
    pinned = frozenset(model.name for model in fleet.models.values() if names & model.pinned_on)
    limited = place.cluster if place.cluster in fleet.budget.per_cluster else None
    return Traits(limited, spec.kind, spec.memory_bytes, spec.slots, spec.kv_elastic, pinned), block


def _blocks(
    fleet: Fleet, traits: Traits, alike: Mapping[Place, _Alike], sizes: Collection[int]
) -> dict[int, tuple[Block, ...]]:
    """The blocks of accelerators with those traits, by size; sizes of which there is none are left out."""
    found = {
        size: tuple(block for block in _all_blocks(fleet, size) if all(alike[place] == (traits, ()) for place in block))
        for size in ([1] if traits.pinned else sizes)
    }
    return {size: blocks for size, blocks in found.items() if blocks}
