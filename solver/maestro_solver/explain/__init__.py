"""Why a plan is as it is: what holds each stage where it is and when, and what each weight of the objective costs.

Everything is a question to the checker ('what breaks if this starts earlier?') or to the list scheduler ('what if this
ran there instead?'), so that an explanation cannot contradict what makes and judges plans.
"""

from maestro_solver.explain.data import (
    Binding,
    Obstacle,
    PlaceCost,
    PlanExplanation,
    StageExplanation,
    WeightPrice,
    WhyHere,
)
from maestro_solver.explain.explanation import explain_plan, explain_stage

__all__ = [
    "Binding",
    "Obstacle",
    "PlaceCost",
    "PlanExplanation",
    "StageExplanation",
    "WeightPrice",
    "WhyHere",
    "explain_plan",
    "explain_stage",
]
