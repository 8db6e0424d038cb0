"""Dispatch policies: whole schedulers that need no plan. Each decides an order, a place, and who leaves for a load.

``DISPATCH_POLICIES`` holds them by name. They are what the planner is compared with, but for ``URGENCY``: the order in
which stages start where plans decide residency.
"""

from __future__ import annotations

from collections.abc import Mapping

from maestro_solver.heuristics.dispatch.hierarchical import HIERARCHICAL
from maestro_solver.heuristics.dispatch.kairos import KAIROS
from maestro_solver.heuristics.dispatch.lru_swap import LRU_SWAP
from maestro_solver.heuristics.dispatch.ordered import ORDERED
from maestro_solver.heuristics.dispatch.plas import PLAS
from maestro_solver.heuristics.dispatch.policy import DispatchPolicy, LoadSite, Resident, Site
from maestro_solver.heuristics.dispatch.urgency import URGENCY

__all__ = ["DISPATCH_POLICIES", "URGENCY", "DispatchPolicy", "LoadSite", "Resident", "Site"]

DISPATCH_POLICIES: Mapping[str, DispatchPolicy] = {
    policy.name: policy for policy in (*ORDERED, PLAS, KAIROS, HIERARCHICAL, LRU_SWAP, URGENCY)
}
