"""What the plan in force asks of the next one, by position: places and loads to keep, and stages that go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from maestro.snapshot import PlanInForce, Snapshot, StageKey
from maestro_solver.grouping import Pair


def places_of(
    in_force: PlanInForce,
    stage_at: Mapping[StageKey, int],
    model_at: Mapping[str, int],
    accelerator_at: Mapping[str, int],
) -> dict[int, Pair]:
    """By waiting stage, the model and the accelerator that the plan in force has for it."""
    found = {}
    for start in in_force.starts:
        model, accelerator = model_at.get(start.model), accelerator_at.get(start.accelerator)
        if start.stage in stage_at and model is not None and accelerator is not None:
            found[stage_at[start.stage]] = (model, accelerator)
    return found


def loads_of(
    in_force: PlanInForce,
    model_at: Mapping[str, int],
    accelerator_at: Mapping[str, int],
    loadable: Collection[Pair],
) -> Counter[Pair]:
    """How often the plan in force loads each pair that can still be loaded."""
    pairs = ((model_at.get(load.model), accelerator_at.get(load.accelerator)) for load in in_force.loads)
    return Counter(
        (model, at) for model, at in pairs if model is not None and at is not None and (model, at) in loadable
    )


def going_first(snapshot: Snapshot) -> frozenset[int]:
    """Stages that are owed their turn, and those that are about to start."""
    committed = {start.stage for start in snapshot.in_force.starts if start.committed}
    return frozenset(
        position for position, stage in enumerate(snapshot.waiting) if stage.first or stage.key in committed
    )
