"""A lower bound on the objective of any plan of a snapshot, from an energy relaxation of its shop."""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestro.snapshot import Snapshot
from maestro_solver.bounds import critical_path_bound, earliest_completions, workflow_cost
from maestro_solver.instance import Instance
from maestro_solver.search.layout import Layout
from maestro_solver.shop.data import Integers, Reals, Shop
from maestro_solver.shop.energy import QUICK, energy_bound


@dataclass(frozen=True)
class GridCosts:
    """What workflows cost by the tick of their completion; exact on the grid."""

    shop: Shop

    @property
    def due(self) -> Integers:
        """The last tick that is on time, by workflow."""
        return self.shop.deadline

    def at(self, completion: Integers) -> Reals:
        """The cost of every workflow, by its completion (last axis: workflows)."""
        over = np.maximum(completion - self.shop.deadline, 0)
        late = self.shop.late_cost * (over > 0)
        cost: Reals = late + self.shop.tardy_cost * np.minimum(over, self.shop.tardy_cap)
        return cost + self.shop.latency_cost * completion


def lower_bound(layout: Layout, limit_s: float, shares: int = QUICK) -> float:
    """What no plan on this grid that places all stages costs less than; never weaker than the critical paths.

    Where the shop leaves options out, or the relaxation is not through in ``limit_s`` seconds, it is those.
    """
    alone = critical_path_bound(layout.instance)
    if not layout.is_whole:
        return alone
    shop = layout.shop
    earliest = np.maximum(shop.least, np.array(earliest_completions(layout.instance), dtype=np.int64))
    together = energy_bound(shop, earliest, GridCosts(shop), limit_s, shares)
    if together is None:
        return alone
    return max(alone, together + shop.use_cost * float(shop.base.in_use[-1]))


def longest_path_bound(instance: Instance) -> float:
    """What no plan costs less than whatever an instance's stages are tied to: the longest paths of fastest options."""
    snapshot, grid = instance.snapshot, instance.grid
    shortest = _least_stretches(snapshot)
    ends: dict[int, int] = {}
    completions = np.array([found.running_end for found in instance.workflows], dtype=np.int64)
    waiting = deque(position for position, stage in enumerate(instance.stages) if not stage.predecessors)
    left = [len(stage.predecessors) for stage in instance.stages]
    while waiting:
        position = waiting.popleft()
        found, stage = snapshot.waiting[position], instance.stages[position]
        saved_s = max((each.saved_s for each in found.reuse), default=0.0)
        fastest = min(
            (
                max(0.0, option.duration_s - saved_s) * shortest[option.kind].get(option.model, 1.0)
                for option in found.options
                if option.kind in shortest
            ),
            default=0.0,
        )
        after = max((ends[before] for before in stage.predecessors), default=0)
        ends[position] = after + grid.ticks_up(fastest if found.external_s is None else found.external_s)
        completions[stage.workflow] = max(completions[stage.workflow], ends[position])
        for successor in instance.successors[position]:
            left[successor] -= 1
            if left[successor] == 0:
                waiting.append(successor)
    pairs = zip(instance.workflows, completions.tolist(), strict=True)
    return sum(workflow_cost(instance, workflow, completion) for workflow, completion in pairs)


def _least_stretches(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """By kind of accelerator the least stretch of every model on any of them; 1 where a model is absent."""
    stretches: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for found in snapshot.accelerators:
        stretches[found.kind].append(found.stretch)
    return {
        kind: {model: min(each.get(model, 1.0) for each in of_kind) for model in set().union(*of_kind)}
        for kind, of_kind in stretches.items()
    }


class Bound:
    """The lower bound of one call of the planner: the critical paths at once, a better one from beside the searches."""

    def __init__(self, instance: Instance, layout: Layout | None, *, tied: bool = False) -> None:
        """``layout`` is the instance's, None where it has none. ``tied``: plans may do what the instance leaves out."""
        self._layout = None if tied else layout
        self._thread: threading.Thread | None = None
        self.value = longest_path_bound(instance) if tied else critical_path_bound(instance)

    def tighten(self, limit_s: float) -> None:
        """Begin to look for a better one, for so many seconds; where they are infinite, the call waits for it."""
        if self._layout is None:
            return
        if math.isinf(limit_s):
            self._tighten(self._layout, limit_s)
            return
        self._thread = threading.Thread(target=self._tighten, args=(self._layout, limit_s))
        self._thread.start()

    def wait(self, limit_s: float) -> None:
        """Give it so many seconds to end."""
        if self._thread is not None:
            self._thread.join(max(0.0, limit_s))

    def _tighten(self, layout: Layout, limit_s: float) -> None:
        self.value = lower_bound(layout, limit_s)
