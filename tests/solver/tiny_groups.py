"""Tiny snapshots with a tensor-parallel model, and what they cost at least, worked out without the solver."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations, product

from snapshot_builders import accelerator, model, replica, snapshot, stage, workflow

from maestro.snapshot import ObjectiveWeights, Snapshot, StageKey, WaitingStage

MODELS = (model("alpha"), model("wide", weights=105, pool=40, size=2))
"""Each takes 75 of 100 on every accelerator that it is on, so that two never share one."""

LOAD_S = {("alpha", "gpu0"): 3.0, ("alpha", "gpu1"): 3.0, ("wide", "gpu0"): 4.0}

_ENGINE_START_S = 1.0
_MEMBERS = {("alpha", "gpu0"): (0,), ("alpha", "gpu1"): (1,), ("wide", "gpu0"): (0, 1)}

_Place = tuple[str, str]
"""A model and the accelerator that names its replica."""


def tiny(seed: int) -> Snapshot:
    """Three stages of alpha and wide on a node of two accelerators with one slot each."""
    draw = random.Random(seed)
    waiting: list[WaitingStage] = []
    for position in range(3):
        follows = position > 0 and draw.random() < 0.4
        owner = waiting[-1].key.workflow if follows else f"w{position}"
        before = [f"s{position - 1}"] if follows else []
        name = draw.choice(["alpha", "alpha", "wide"])
        waiting.append(stage(f"s{position}", name, float(draw.randint(1, 3)), after=before, workflow=owner))
    there = draw.choice([("alpha", None), ("wide", None), (None, "alpha")])
    pools = {"alpha": 20, "wide": 40}
    return snapshot(
        [
            accelerator(f"gpu{at}", *([replica(name, pool=pools[name])] if name else []), slots=1, node="n")
            for at, name in enumerate(there)
        ],
        waiting,
        models=MODELS,
        load_s=LOAD_S,
        workflows=[workflow(f"w{number}", float(draw.randint(2, 12)), draw.choice([1.0, 2.0])) for number in range(3)],
        weights=ObjectiveWeights(late=20.0, tardy=2.0, tardy_cap_s=3.0, latency=1.0, swap=0.5, gpu=1.0),
    )


def all_costs(given: Snapshot) -> Iterator[float]:
    """The costs of starting the stages in any order, anywhere, each as soon as it can then."""
    count = len(given.waiting)
    for order in permutations(range(count)):
        for accelerators in product(["gpu0", "gpu1"], repeat=count):
            places = [(found.options[0].model, at) for found, at in zip(given.waiting, accelerators, strict=True)]
            if all(place in _MEMBERS for place in places):
                run = _Run(given)
                if all(run.start(given.waiting[position], places[position]) for position in order):
                    yield run.cost()


class _Run:
    """Stages that are started one after the other."""

    def __init__(self, given: Snapshot) -> None:
        self._given = given
        self._resident: list[_Place | None] = [None, None]
        for state in given.accelerators:
            for found in state.replicas:
                self._let_in((found.model, state.name))
        self._free_s = [0.0, 0.0]
        self._link_s = self._loads_s = 0.0
        self._used: set[int] = set()
        self._ends: dict[StageKey, float] = {}

    def start(self, waiting: WaitingStage, place: _Place) -> bool:
        """Start a stage there as soon as it can; whether its predecessors have been started."""
        if any(before not in self._ends for before in waiting.predecessors):
            return False
        members = _MEMBERS[place]
        start_s = max(self._free_s[at] for at in members)
        if any(self._resident[at] != place for at in members):
            load_s = LOAD_S[place]
            begin_s = max(start_s, self._link_s)
            self._link_s, self._loads_s = begin_s + load_s - _ENGINE_START_S, self._loads_s + load_s
            self._let_in(place)
            start_s = begin_s + load_s
        start_s = max([start_s, *(self._ends[before] for before in waiting.predecessors)])
        self._ends[waiting.key] = start_s + waiting.options[0].duration_s
        for at in members:
            self._free_s[at] = self._ends[waiting.key]
        self._used.update(members)
        return True

    def cost(self) -> float:
        """What it all costs."""
        weights = self._given.weights
        cost = weights.swap * self._loads_s + weights.gpu * len(self._used)
        for found in self._given.workflows:
            end_s = max((end_s for key, end_s in self._ends.items() if key.workflow == found.id), default=0.0)
            over_s = max(0.0, end_s - found.deadline_s)
            late = weights.late * (over_s > 0) + weights.tardy * min(over_s, weights.tardy_cap_s)
            cost += found.weight * (late + weights.latency * end_s)
        return cost

    def _let_in(self, place: _Place) -> None:
        """Evict all that shares an accelerator with a replica, and let it in."""
        leaving = {self._resident[at] for at in _MEMBERS[place]}
        self._resident = [None if found in leaving else found for found in self._resident]
        for at in _MEMBERS[place]:
            self._resident[at] = place
