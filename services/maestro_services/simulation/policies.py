"""The policies that can be simulated, by name: the planner with its ablations, the oracle, and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from maestro.errors import InvalidInputError
from maestro_services.simulation.clients import Clients, StageByStage, WholeWorkflows
from maestro_services.simulation.predictors import BiasedPredictor, TrueLengths, UnlearningPredictor
from maestro_services.simulation.reservations import CarefulPredictor, Generosity, GenerousPredictor
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, DispatchPolicy
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner.answering import PLANNER, PORTFOLIO
from maestro_solver.predictor import LengthPredictor, PredictorConfig

LIMITS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Limits of a plan that the planner is simulated with: ``planner-limit-0.05`` and so on."""

LENGTH_FACTORS = (0.5, 0.7, 1.4, 2.0)
"""By how much forecasts can be off: ``planner-lengths-x0.5`` and so on."""

RESERVE_FACTORS = (1.3, 1.6, 2.0)
"""By how much more than the p95 can be reserved: ``planner-reserves-x1.3`` and so on."""

ORDERS = ("fcfs", "edf", "wspt")
"""Orders in which stages can start in place of the planner's own: ``planner-order-edf`` and so on."""


class Knowledge(StrEnum):
    """What a policy knows of output lengths."""

    LEARNT = "learnt"
    TRUE = "true"
    PRIOR = "prior"


@dataclass(frozen=True, slots=True)
class SimulatedPolicy:
    """``dispatch`` None: the planner decides.

    ``places_stages``: its plans give every stage its place and its turn, not only models theirs. ``plans_by``: who
    makes them, the whole planner or its portfolio of heuristics alone. ``starts``: the order in which stages start,
    None for the planner's own. ``limit_s``: of a plan, None for the scenario's. ``length_factor``: every forecast is
    off by it. ``generosity``: memory is reserved by a rule of thumb, None for what is predicted, ``reserve_factor``
    times. ``reveals``: clients submit one stage after the other, so that what comes next is not known.
    """

    name: str
    dispatch: DispatchPolicy | None = None
    knowledge: Knowledge = Knowledge.LEARNT
    places_stages: bool = False
    plans_by: str = PLANNER
    starts: DispatchPolicy | None = None
    limit_s: float | None = None
    limit_factor: float = 1.0
    length_factor: float = 1.0
    generosity: Generosity | None = None
    reserve_factor: float = 1.0
    reveals: bool = False

    def predictor(self, config: PredictorConfig, length_of: Callable[[str], int]) -> LengthPredictor:
        """What it knows, before anything has happened."""
        if self.generosity is not None:
            return GenerousPredictor(config, self.generosity)
        if self.reserve_factor != 1.0:
            return CarefulPredictor(config, self.reserve_factor)
        if self.length_factor != 1.0:
            return BiasedPredictor(config, self.length_factor)
        match self.knowledge:
            case Knowledge.LEARNT:
                return LengthPredictor(config)
            case Knowledge.TRUE:
                return TrueLengths(length_of)
            case Knowledge.PRIOR:
                return UnlearningPredictor(config)

    def clients(self) -> Clients:
        """Who submits workflows to it, for one run."""
        return StageByStage() if self.reveals else WholeWorkflows()

    def planner_config(self, config: PlannerConfig) -> PlannerConfig:
        """The planner's settings under this policy, given the scenario's."""
        limit_s = config.limit_s if self.limit_s is None else self.limit_s
        return replace(config, limit_s=limit_s * self.limit_factor)

    def start_order(self, default: DispatchPolicy | None) -> DispatchPolicy | None:
        """By what stages start as soon as there is room; None where plans place them. ``default``: the scenario's."""
        return None if self.places_stages else self.starts or default


def _planners() -> Iterator[SimulatedPolicy]:
    yield SimulatedPolicy("planner")
    yield SimulatedPolicy("oracle", knowledge=Knowledge.TRUE, limit_factor=4.0)
    yield SimulatedPolicy("planner-true-lengths", knowledge=Knowledge.TRUE)
    yield SimulatedPolicy("planner-no-predictor", knowledge=Knowledge.PRIOR)
    yield SimulatedPolicy("planner-places-stages", places_stages=True)
    yield SimulatedPolicy("planner-stage-by-stage", reveals=True)
    yield SimulatedPolicy("portfolio-places-stages", places_stages=True, plans_by=PORTFOLIO)
    yield SimulatedPolicy("planner-reserves-8192", generosity=Generosity.WHOLE_8192)
    yield SimulatedPolicy("planner-reserves-4096-more", generosity=Generosity.OUTPUT_4096)
    for limit_s in LIMITS_S:
        yield SimulatedPolicy(f"planner-limit-{limit_s:g}", limit_s=limit_s)
    for factor in LENGTH_FACTORS:
        yield SimulatedPolicy(f"planner-lengths-x{factor:g}", length_factor=factor)
    for factor in RESERVE_FACTORS:
        yield SimulatedPolicy(f"planner-reserves-x{factor:g}", reserve_factor=factor)
    for order in ORDERS:
        yield SimulatedPolicy(f"planner-order-{order}", starts=DISPATCH_POLICIES[order])


def _baselines() -> Iterator[SimulatedPolicy]:
    for name, dispatch in DISPATCH_POLICIES.items():
        yield SimulatedPolicy(name, dispatch)
        yield SimulatedPolicy(f"{name}-true-lengths", dispatch, Knowledge.TRUE)


POLICIES: Mapping[str, SimulatedPolicy] = {policy.name: policy for policy in (*_planners(), *_baselines())}


def policy_named(name: str) -> SimulatedPolicy:
    """The policy; raises InvalidInputError for a name there is none of."""
    found = POLICIES.get(name)
    if found is None:
        raise InvalidInputError("policy", "is not known", value=name, remedy=f"use one of {', '.join(POLICIES)}")
    return found
