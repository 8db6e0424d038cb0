"""The bound that every result reports."""

from __future__ import annotations

from maestro_solver.core_instance.bounds.completion import CompletionCosts, earliest_completions, necessary_loads
from maestro_solver.core_instance.problem import CoreProblem
from maestro_solver.core_instance.shop import shop_of
from maestro_solver.shop.energy import QUICK, energy_bound


def critical_path_bound(problem: CoreProblem) -> float:
    """What no plan on this grid costs less than: every workflow alone, and every model that is nowhere loaded once."""
    return float(CompletionCosts(problem).at(earliest_completions(problem)).sum()) + necessary_loads(problem)


def lower_bound(problem: CoreProblem, limit_s: float = 0.2, shares: int = QUICK) -> float:
    """What no plan on this grid costs less than; never weaker than the critical paths, however little time there is.

    ``shares`` is the size of the linear relaxation: larger is tighter and slower.
    """
    costs, earliest, loads = CompletionCosts(problem), earliest_completions(problem), necessary_loads(problem)
    alone = float(costs.at(earliest).sum())
    together = energy_bound(shop_of(problem), earliest, costs, limit_s, shares)
    return max(alone, alone if together is None else together) + loads
