"""What capacity planning is asked, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from maestro.errors import InvalidInputError
from maestro.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Demand:
    """A steady stream of like requests to one model.

    ``max_latency_s`` bounds a request's time in the engine, waiting for admission not counted. ``weight`` says how
    much serving all of this demand is worth where not everything can be served.
    """

    name: str
    model: str
    requests_per_s: float
    prompt_tokens: int
    output_tokens: int
    max_latency_s: float
    weight: float = 1.0

    @property
    def tokens(self) -> int:
        """What a request's KV cache holds in the end."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class CapacityProblem:
    """A fleet and the demand on it.

    The fleet's limits per cluster hold; its total is replaced by the budget of each question. ``utilisation`` is the
    share of a replica's capacity that steady demand may fill: what is left keeps queues short when requests bunch.
    ``max_models`` bounds the models that share an accelerator (those pinned on it come first): more than a few take
    turns so slowly that it seldom pays, and each further one multiplies the layouts to choose from. Only models that
    take equally many accelerators at once share them.
    """

    fleet: Fleet
    demands: tuple[Demand, ...]
    utilisation: float = 0.8
    max_models: int = 3

    def __post_init__(self) -> None:
        """Refuse demands that make no sense, naming the field."""
        if not 0 < self.utilisation <= 1:
            raise InvalidInputError("utilisation", "must lie above 0 and not above 1", value=self.utilisation)
        if self.max_models < 1:
            raise InvalidInputError("max_models", "must be 1 or more", value=self.max_models)
        names: set[str] = set()
        for index, demand in enumerate(self.demands):
            _check_demand(f"demands[{index}]", demand, self.fleet)
            if demand.name in names:
                raise InvalidInputError(f"demands[{index}].name", "is used twice", value=demand.name)
            names.add(demand.name)


class CapacityStatus(StrEnum):
    """What is known about serving all demand within the budget."""

    OPTIMAL = "optimal"  # all is served, provably on the fewest accelerators
    FEASIBLE = "feasible"  # all is served; whether fewer accelerators would do is not known
    INFEASIBLE = "infeasible"  # proven: not all can be served; the plan serves what it can
    UNKNOWN = "unknown"  # the time ended before either was found out; the plan serves what was found


class Binding(StrEnum):
    """What keeps demand from being served."""

    GROUP = "group"  # no node has as many like accelerators as the model takes at once
    NO_SPEED = "no_speed"  # no accelerator kind of the fleet has coefficients for the model
    CONTEXT = "context"  # a request is longer than the model's context
    MEMORY = "memory"  # weights, overhead and one request's KV fit no accelerator
    LATENCY = "latency"  # a request alone takes too long on every accelerator that holds it
    BUDGET = "budget"  # more accelerators are needed than the budget allows
    CLUSTER_LIMIT = "cluster_limit"  # the limits per cluster leave too few accelerators
    FLEET = "fleet"  # all accelerators together are too few
    PINNED = "pinned"  # pinned replicas cannot all be where they are pinned


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why not all demand can be served.

    ``demand`` is the one that suffers most (empty: none in particular), ``reason`` a sentence with the numbers.
    ``least_accelerators`` is a budget that would do: the least one if ``least_is_proven``. None: no budget on this
    fleet does, if ``least_is_proven``; else none was found in time.
    """

    demand: str
    binding: Binding
    reason: str
    least_accelerators: int | None
    least_is_proven: bool


@dataclass(frozen=True, slots=True)
class PlannedReplica:
    """A replica that stays resident: nothing is swapped under a capacity plan.

    ``accelerator`` is the first of those that it takes, where its model is tensor-parallel.
    At most ``batch`` requests run in it at once. ``requests_per_s`` is what it serves of each demand, and ``load``
    the share of its capacity that this fills, ``utilisation`` at most.
    """

    model: str
    cluster: str
    node: str
    accelerator: str
    kind: str
    batch: int
    kv_pool_bytes: int
    load: float
    requests_per_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """Replicas for a demand within a budget, and how good they provably are.

    ``served`` is the share (0 to 1) of each demand that is served. ``objective`` is the sum of weight times share
    over the demands with requests, ``bound`` a proven upper bound on it within the budget.
    ``accelerators_bound`` is a proven lower bound on the accelerators that serving this much takes.
    ``gap`` is the relative distance that is left: of the accelerators where all is served, else of the objective.
    """

    status: CapacityStatus
    budget: int
    accelerators_used: int
    accelerators_bound: int
    replicas: tuple[PlannedReplica, ...]
    served: Mapping[str, float]
    objective: float
    bound: float
    gap: float
    seconds: float
    shortfall: Shortfall | None = None


def _check_demand(path: str, demand: Demand, fleet: Fleet) -> None:
    if demand.model not in fleet.models:
        raise InvalidInputError(
            f"{path}.model", "is not in the fleet", value=demand.model, remedy=f"use one of {sorted(fleet.models)}"
        )
    for name, least in (("requests_per_s", 0.0), ("prompt_tokens", 0), ("output_tokens", 0)):
        value = getattr(demand, name)
        if not least <= value < math.inf:
            raise InvalidInputError(f"{path}.{name}", "must be a finite number, 0 or more", value=value)
    for name in ("max_latency_s", "weight"):
        value = getattr(demand, name)
        if not 0 < value < math.inf:
            raise InvalidInputError(f"{path}.{name}", "must be a finite number above 0", value=value)
