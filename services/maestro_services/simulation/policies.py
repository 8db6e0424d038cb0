"""The policies that can be simulated, by name: the planner with its ablations, the oracle, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from maestro.errors import InvalidInputError
from maestro_services.simulation.predictors import BiasedPredictor, TrueLengths, UnlearningPredictor
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, DispatchPolicy
from maestro_solver.predictor import LengthPredictor, PredictorConfig


class Knowledge(StrEnum):
    """What a policy knows of output lengths."""

    LEARNT = "learnt"
    TRUE = "true"
    PRIOR = "prior"
    HALVED = "halved"
    DOUBLED = "doubled"


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """``dispatch`` None: the planner decides, ``limit_factor`` times as long as the scenario says.

    ``places_stages``: its plans give every stage its place and its turn, not only models theirs.
    """

    name: str
    dispatch: DispatchPolicy | None = None
    knowledge: Knowledge = Knowledge.LEARNT
    places_stages: bool = False
    limit_factor: float = 1.0

    def predictor(self, config: PredictorConfig, length_of: Callable[[str], int]) -> LengthPredictor:
        """What it knows, before anything has happened."""
        match self.knowledge:
            case Knowledge.LEARNT:
                return LengthPredictor(config)
            case Knowledge.TRUE:
                return TrueLengths(length_of)
            case Knowledge.PRIOR:
                return UnlearningPredictor(config)
            case Knowledge.HALVED:
                return BiasedPredictor(config, 0.5)
            case Knowledge.DOUBLED:
                return BiasedPredictor(config, 2.0)


def _all() -> Mapping[str, SimulatedPolicy]:
    found = [
        SimulatedPolicy("planner"),
        SimulatedPolicy("planner-places-stages", places_stages=True),
        SimulatedPolicy("planner-no-predictor", knowledge=Knowledge.PRIOR),
        SimulatedPolicy("planner-true-lengths", knowledge=Knowledge.TRUE),
        SimulatedPolicy("planner-halved", knowledge=Knowledge.HALVED),
        SimulatedPolicy("planner-doubled", knowledge=Knowledge.DOUBLED),
        SimulatedPolicy("oracle", knowledge=Knowledge.TRUE, limit_factor=4.0),
    ]
    found += [SimulatedPolicy(name, dispatch) for name, dispatch in DISPATCH_POLICIES.items()]
    found += [
        SimulatedPolicy(f"{name}-true-lengths", dispatch, Knowledge.TRUE)
        for name, dispatch in DISPATCH_POLICIES.items()
    ]
    return {policy.name: policy for policy in found}


POLICIES = _all()


def policy_named(name: str) -> SimulatedPolicy:
    """The policy; raises InvalidInputError for a name there is none of."""
    found = POLICIES.get(name)
    if found is None:
        raise InvalidInputError("policy", "is not known", value=name, remedy=f"use one of {', '.join(POLICIES)}")
    return found
