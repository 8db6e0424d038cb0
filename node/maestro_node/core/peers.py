"""Which accelerators a tensor-parallel replica takes beside the one that names it."""

from __future__ import annotations

from maestro.errors import InvalidInputError
from maestro.fleet import ModelSpec, NodeSpec


def check_peers(node: NodeSpec, model: ModelSpec, accelerator: str, peers: tuple[str, ...]) -> None:
    """Raise InvalidInputError unless these are the accelerators that the model takes there."""
    size = model.tensor_parallel_size
    groups = node.groups(size)
    if size == 1 and not peers:
        return
    if (accelerator, *peers) not in groups:
        taken = next((group[1:] for group in groups if group[0] == accelerator), None)
        raise InvalidInputError(
            "peers",
            f'are not the accelerators that "{model.name}", of tensor_parallel_size {size}, takes with "{accelerator}"',
            value=", ".join(peers) or "none",
            remedy=f"name: {', '.join(taken) or 'none'}"
            if taken is not None
            else f"load it on one of: {', '.join(group[0] for group in groups) or 'no accelerator of this node'}",
        )
