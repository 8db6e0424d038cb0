"""Offline planning: which models, how many replicas and where, for a steady demand on at most N accelerators.

A mixed-integer program over layouts of accelerators, or of as many as a replica takes (PuLP with HiGHS), with a bound
and a reason on every answer. Online scheduling does not pass through here.
"""

from maestro_solver.capacity.check import violations
from maestro_solver.capacity.data import (
    Binding,
    CapacityPlan,
    CapacityProblem,
    CapacityStatus,
    Demand,
    PlannedReplica,
    Shortfall,
)
from maestro_solver.capacity.planning import frontier, solve

__all__ = [
    "Binding",
    "CapacityPlan",
    "CapacityProblem",
    "CapacityStatus",
    "Demand",
    "PlannedReplica",
    "Shortfall",
    "frontier",
    "solve",
    "violations",
]
