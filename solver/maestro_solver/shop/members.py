"""The further accelerators of a tensor-parallel replica: what the first gives, each of them gives as well.

Callers ask :func:`has_peers` first, so that models which take one accelerator pay for a comparison: handing a whole
shop to another function costs more than all that such a model needs of it.
"""

from __future__ import annotations

from maestro_solver.shop.compiled import compiled_part
from maestro_solver.shop.data import NO_PEER, Integers, Shop, Timeline
from maestro_solver.shop.steps import change_use


@compiled_part
def has_peers(peers: Integers, g: int, model: int) -> bool:
    """Whether a replica of the model that is named by ``g`` takes further accelerators."""
    found: bool = peers.shape[2] > 0 and peers[g, model, 0] != NO_PEER
    return found


@compiled_part
def change_peers(  # noqa: PLR0913, PLR0917 - compiled code takes its state flat
    shop: Shop, line: Timeline, g: int, model: int, begin: int, end: int, memory: int, places: int
) -> None:
    """Add to what is in use on them from begin to end."""
    for at in shop.peers[g, model]:
        if at != NO_PEER:
            line.step_count[at] = change_use(line.steps[at], line.step_count[at], begin, end, memory, places)


@compiled_part
def unused_peers(shop: Shop, line: Timeline, g: int, model: int) -> int:
    """How many of them no stage is on."""
    count = 0
    for at in shop.peers[g, model]:
        if at != NO_PEER and line.stage_count[at] == 0:
            count += 1
    return count


@compiled_part
def count_on_peers(shop: Shop, line: Timeline, g: int, model: int) -> int:
    """Count one stage more on each of them; how many are thereby in use."""
    fresh = 0
    for at in shop.peers[g, model]:
        if at == NO_PEER:
            continue
        line.stage_count[at] += 1
        if line.stage_count[at] == 1:
            line.in_use[shop.cluster[at]] += 1
            line.in_use[line.in_use.size - 1] += 1
            fresh += 1
    return fresh


@compiled_part
def discount_on_peers(shop: Shop, line: Timeline, g: int, model: int) -> int:
    """Count one stage less on each of them; how many are no longer in use."""
    left = 0
    for at in shop.peers[g, model]:
        if at == NO_PEER:
            continue
        line.stage_count[at] -= 1
        if line.stage_count[at] == 0:
            line.in_use[shop.cluster[at]] -= 1
            line.in_use[line.in_use.size - 1] -= 1
            left += 1
    return left
