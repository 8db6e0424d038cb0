"""Which accelerators a replica takes at once, by position: one of most models, a group of a tensor-parallel one."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.errors import InvalidInputError
from maestro.snapshot import Snapshot

Pair = tuple[int, int]
"""A model and an accelerator, by position; of a tensor-parallel model the first of its accelerators."""


class Groups:
    """The groups of a snapshot's tensor-parallel models; ``members_of`` holds them by pair, other models not.

    A group with an accelerator that the snapshot does not have is left out. Raises InvalidInputError for one that is
    not as many accelerators of one node as its model takes, named by the first.
    """

    def __init__(self, snapshot: Snapshot, model_at: Mapping[str, int], accelerator_at: Mapping[str, int]) -> None:
        self._sizes = [model.tensor_parallel_size for model in snapshot.models.values()]
        nodes = {found.name: (found.cluster, found.node) for found in snapshot.accelerators}
        self.members_of: dict[Pair, tuple[int, ...]] = {}
        for (model, first), members in snapshot.groups.items():
            if model not in model_at or not nodes.keys() >= set(members):
                continue
            size = self._sizes[model_at[model]]
            is_one_node = len({nodes[member] for member in members}) == 1
            if members[:1] != (first,) or len(members) != size or len(set(members)) != size or not is_one_node:
                raise InvalidInputError(
                    "groups",
                    f"does not name {size} accelerators of one node from {first} on for {model}",
                    value=members,
                )
            if size > 1:
                self.members_of[model_at[model], accelerator_at[first]] = tuple(accelerator_at[m] for m in members)

    def may_hold(self, model: int, accelerator: int) -> bool:
        """Whether a replica of the model can be named by the accelerator."""
        return self._sizes[model] == 1 or (model, accelerator) in self.members_of

    def members(self, model: int, accelerator: int) -> tuple[int, ...]:
        """The accelerators that the replica takes."""
        return self.members_of.get((model, accelerator), (accelerator,))
