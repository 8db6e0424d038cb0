"""Solving the whole instance exactly, beside other searches or alone, with the incumbent as bound and hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.model import ExactModel, SolverLimits
from maestro_solver.core_instance.exact.scope import Scope
from maestro_solver.core_instance.incumbent import Incumbent
from maestro_solver.core_instance.problem import CorePlan, cost

MOST_STAGES: Final = 200
"""Beyond this the whole model only takes time from the neighbourhoods."""

PROVEN: Final = 1e-4
"""A plan is optimal if it costs at most this more than the bound; the judge rounds to as much."""


def prove(
    instance: Instance, incumbent: Incumbent, limits: SolverLimits, source: str, on_bound: Callable[[float], None]
) -> None:
    """Offer better plans to the incumbent, and bounds that hold for every plan to ``on_bound``, as they are found.

    So an overrun of the solver, which nobody waits for, loses nothing.
    """
    problem = instance.problem

    def offer(plan: CorePlan) -> None:
        incumbent.offer(plan, cost(problem, plan).objective, source)

    data = ModelData(instance, incumbent.plan, Scope.everything(problem))
    on_bound(ExactModel(data).solve(limits, offer, on_bound).bound)
