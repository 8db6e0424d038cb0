"""The answers, as data. Times are seconds after the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from maestro.reasons import Reason
from maestro.snapshot import StageKey


class Binding(StrEnum):
    """What keeps a stage from starting earlier, or from running somewhere."""

    NOTHING = "nothing"  # it starts at the snapshot's instant
    ROOM_LEFT = "room_left"  # it could start earlier with all else unchanged; the plan gains nothing by it
    PREDECESSOR = "predecessor"
    NETWORK = "network"
    RETRY = "retry"
    DEVICE_MEMORY = "device_memory"
    KV_POOL = "kv_pool"
    BATCH = "batch"
    SLOTS = "slots"
    LOAD_TIME = "load_time"
    LOAD_LINK = "load_link"
    OTHER_REPLICA = "other_replica"  # an earlier residency of the same model has to end first
    DRAINING = "draining"
    PINNED_MODEL = "pinned_model"
    BUDGET = "budget"
    NEVER_FITS = "never_fits"  # weights or reservation exceed the accelerator, or the weights are not within reach


class WhyHere(StrEnum):
    """Why a stage has the place it has."""

    ONLY_PLACE = "only_place"
    CHEAPEST = "cheapest"
    AS_CHEAP = "as_cheap"  # no other place costs less, some cost the same
    NOT_CHEAPEST = "not_cheapest"  # another place would cost less: the plan is not locally optimal
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that holds until ``until_s``; ``holders`` names the stages or models behind it."""

    binding: Binding
    until_s: float
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceCost:
    """A stage at a place: when it would run there, and by how much the objective would change.

    Everything else keeps its place and its turn, and starts as soon as it then can. ``objective_change`` is None, and
    so are the times, where ``obstacle`` says why the stage cannot run there at all. ``loads`` is how many loads more
    (or fewer) there would be.
    """

    accelerator: str
    model: str
    start_s: float | None = None
    end_s: float | None = None
    objective_change: float | None = None
    term_changes: Mapping[str, float] | None = None
    loads: int = 0
    obstacle: Binding | None = None


@dataclass(frozen=True, slots=True)
class StageExplanation:
    """Why a stage is here, and why not earlier.

    ``accelerator``, ``model`` and the times are None for a deferred stage, whose ``reason`` is the plan's.
    ``earliest_s`` is the first start in the same place with all else unchanged; ``obstacles`` are what holds until
    then. ``others`` are the other places, the cheapest first, those that are impossible last; for a deferred stage,
    all places, each with the change if it went before all others.
    """

    stage: StageKey
    why_here: WhyHere
    accelerator: str | None = None
    model: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    earliest_s: float | None = None
    obstacles: tuple[Obstacle, ...] = ()
    reason: Reason | None = None
    others: tuple[PlaceCost, ...] = ()

    @property
    def next_best(self) -> PlaceCost | None:
        """The cheapest other place; None where there is none."""
        return next((place for place in self.others if place.objective_change is not None), None)


@dataclass(frozen=True, slots=True)
class WeightPrice:
    """What a weight of the objective counts, and what heeding it costs.

    ``cost`` is the term's part of the objective, ``amount`` that part over the weight (None for a weight of 0), in
    ``unit``. ``price`` is how much lower all other terms together are in the best plan found without this weight: a
    lower bound on what heeding the weight costs, since that plan need not be optimal.
    """

    term: str
    weight: float
    unit: str
    cost: float
    amount: float | None
    price: float


@dataclass(frozen=True, slots=True)
class PlanExplanation:
    """A plan as a whole: its objective, the price of each weight, and how often each thing binds."""

    objective: float
    bound: float | None
    weights: tuple[WeightPrice, ...]
    bindings: Mapping[Binding, int]
