"""Maestro's own exact model of the whole instance given to CP-SAT at once, without portfolio, search or neighbourhoods.

The model is built around a plan, here that of one rule, which is its hint.
"""

from __future__ import annotations

import time

from maestro_solver.core_instance.exact.data import ModelData
from maestro_solver.core_instance.exact.instance import Instance
from maestro_solver.core_instance.exact.model import ExactModel, SolverLimits
from maestro_solver.core_instance.exact.scope import Scope
from maestro_solver.core_instance.exact.stopping import Stopper
from maestro_solver.core_instance.portfolio import run_rule
from maestro_solver.core_instance.problem import CoreProblem
from peer_models.placement import PeerAnswer

_RULE = "edf"


def solve(problem: CoreProblem, limit_s: float, workers: int) -> PeerAnswer:
    """CP-SAT's answer within the limit, building included."""
    began_s = time.monotonic()
    hint = run_rule(problem, _RULE).best.plan
    model = ExactModel(ModelData(Instance(problem), hint, Scope.everything(problem)))
    left_s = max(0.01, limit_s - (time.monotonic() - began_s))
    result = model.solve(SolverLimits(left_s, workers, stopper=Stopper()))
    return PeerAnswer(result.status.name.lower(), plan=result.plan, bound=result.bound)
