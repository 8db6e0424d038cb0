"""What a peer answers: where and when every stage runs, on accelerators whose residency does not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestro_solver.core_instance.problem import OPEN_END, CorePlan, CoreProblem


@dataclass(frozen=True)
class PeerAnswer:
    """``places`` gives (accelerator, start tick) by stage, None where nothing was found in time; ``status`` is its own.

    ``plan`` is used instead where the peer decides on residency too. ``bound`` is in the judge's unit, None if there
    is none.
    """

    status: str
    places: Mapping[int, tuple[int, int]] | None = None
    plan: CorePlan | None = None
    bound: float | None = None


def places_of(problem: CoreProblem, stage: int) -> list[int]:
    """The accelerators where the stage's model is resident and its reservation fits beside all that is."""
    model, free = problem.stage_model[stage], free_memory(problem)
    return [
        where
        for where in range(problem.accelerators)
        if problem.initially_resident[where, model] and problem.stage_kv[stage] <= free[where]
    ]


def free_memory(problem: CoreProblem) -> list[int]:
    """What each accelerator's residents leave."""
    held = problem.initially_resident @ problem.model_weights
    left: list[int] = (problem.accelerator_memory - held).tolist()
    return left


def as_plan(problem: CoreProblem, places: Mapping[int, tuple[int, int]]) -> CorePlan:
    """The places with every initial residency held for good."""
    accelerators, models = np.nonzero(problem.initially_resident)
    return CorePlan(
        accelerator=np.array([places[stage][0] for stage in range(problem.stages)], dtype=np.int64),
        start=np.array([places[stage][1] for stage in range(problem.stages)], dtype=np.int64),
        residency_accelerator=accelerators.astype(np.int64),
        residency_model=models.astype(np.int64),
        residency_load_start=np.zeros(models.size, dtype=np.int64),
        residency_end=np.full(models.size, OPEN_END, dtype=np.int64),
        residency_initial=np.ones(models.size, dtype=np.bool_),
    )
