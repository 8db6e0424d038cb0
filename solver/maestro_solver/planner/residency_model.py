"""Which models are to be resident where: a small exact model of what replicas serve in the long run.

    maximise   A * min over wanted models m of share_m  +  sum of share_m  -  changes  -  neighbours  -  churn
    share_m  = tokens a second that m's replicas serve / tokens a second that are wanted of m, HEADROOM at most
    served   = sum over accelerators a of time_ma * rate_ma,   sum over m of time_ma <= 1,   time_ma <= resident_ma

``rate_ma`` is what a replica serves with its batch as full as its KV memory lets it be, its accelerator to itself.
Models that share an accelerator take turns there, so that together they have the time of one. The least share comes
first since workflows need several models: what is served of one is worth nothing without the others. A replica of a
tensor-parallel model takes its share of memory and its time of every accelerator of its group, and is a neighbour on
each of them.

Loads and evictions are changes of what is there; churn is what the layout changes of the plan in force: loads of its
that have not begun and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ortools.sat.python import cp_model

from maestro.fleet import ModelSpec
from maestro.performance import slowdown
from maestro.snapshot import AcceleratorState, ReplicaPhase, Snapshot

HEADROOM = 1500
"""Permille of the demand beyond which more capacity is worth nothing: arrivals come in bursts."""

LEAST_SHARE, EVICTION, LOAD, NEIGHBOUR = 20, 1500, 600, 8000
"""Weights. An eviction has to raise the least share by 7.5 % of the demand to be worth it, a load by 3 %, a neighbour
by 40 %: taking turns about doubles the time of a stage, and who has half of that as slack is late. Found in simulation.
"""

CHURN = 300
"""What leaving out a load of the plan in force costs, times the scenario's weight of churn: half of what it is to begin
one that nobody has planned.
"""

COMMITTED = 1_000_000
"""What going back on a commitment costs, a pinned model's place among them: more than anything else can gain, and still
a solution where it has to be.
"""

_WHOLE = 1000
_LARGEST_RATE = 10**7

Layout = Mapping[str, frozenset[str]]
"""The models resident on each accelerator; a tensor-parallel one stands with the first of its accelerators."""

_Pair = tuple[str, str]
"""A model and the accelerator that names its replica."""


@dataclass(frozen=True, slots=True)
class SolverLimits:
    """``deterministic``: ``limit_s`` counts in the solver's deterministic time, with one worker."""

    limit_s: float
    workers: int
    seed: int
    deterministic: bool


@dataclass(frozen=True, slots=True)
class LayoutResult:
    """``layout`` is None where nothing was found in time. ``terms`` add up to its cost; ``bound`` never exceeds it."""

    layout: Layout | None
    optimal: bool
    terms: Mapping[str, float]
    bound: float

    @property
    def cost(self) -> float:
        """By how much the layout falls short of one that serves everything and changes nothing."""
        return sum(self.terms.values())


class ResidencyModel:
    """The model of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Builds it. What loads stays, what is pinned comes, what drains is gone."""
        self._snapshot = snapshot
        self._model = cp_model.CpModel()
        self._wanted = {name: found for name, found in snapshot.demand.items() if found.tokens_per_s > 0.0}
        self._states = {found.name: found for found in snapshot.accelerators}
        self._resident = {pair: self._model.new_bool_var("") for pair in self._possible()}
        self._sharing: dict[str, list[_Pair]] = {name: [] for name in self._states}
        for pair in self._resident:
            for member in snapshot.members(*pair):
                self._sharing[member].append(pair)
        self._time = {pair: self._model.new_int_var(0, _WHOLE, "") for pair in self._resident}
        self._bound_accelerators()
        self._bound_budget()
        ideal = LEAST_SHARE * HEADROOM + HEADROOM * len(self._wanted)
        self._terms = {
            "demand_missed": ideal - self._worth_of_shares(),
            "loads": LOAD * cp_model.LinearExpr.sum([self._resident[pair] for pair in self._pairs(ready=False)]),
            "evictions": EVICTION * cp_model.LinearExpr.sum([1 - self._resident[p] for p in self._pairs(ready=True)]),
            "neighbours": self._cost_of_neighbours(),
            "churn": self._cost_of_churn(),
            "pinned_missed": self._cost_of_missed_pins(),
        }
        self._model.minimize(cp_model.LinearExpr.sum(list(self._terms.values())))
        self._hint()

    def solve(self, limits: SolverLimits) -> LayoutResult:
        """The best layout found within the limits."""
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1 if limits.deterministic else limits.workers
        solver.parameters.random_seed = limits.seed
        if limits.deterministic:
            solver.parameters.max_deterministic_time = limits.limit_s
        else:
            solver.parameters.max_time_in_seconds = max(0.01, limits.limit_s)
        status = solver.solve(self._model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return LayoutResult(None, optimal=False, terms={}, bound=0.0)
        layout = {
            accelerator: frozenset(
                name for (name, at), resident in self._resident.items() if at == accelerator and solver.value(resident)
            )
            for accelerator in self._states
        }
        terms = {name: float(solver.value(term)) for name, term in self._terms.items()}
        bound = max(0.0, min(sum(terms.values()), solver.best_objective_bound))
        return LayoutResult(layout, status == cp_model.OPTIMAL, terms, bound)

    def _possible(self) -> Iterator[_Pair]:
        """Every pair that a replica can be: of a tensor-parallel model one for each group that is all there."""
        for accelerator in self._states:
            for model in self._snapshot.models.values():
                members = self._snapshot.members(model.name, accelerator)
                if len(members) == model.tensor_parallel_size and self._states.keys() >= set(members):
                    yield model.name, accelerator

    def _hint(self) -> None:
        """What is there, with the plan in force carried out."""
        layout = {(name, at) for at, models in present(self._snapshot).items() for name in models}
        for load in self._snapshot.in_force.loads:
            layout -= load.evicts
            layout.add((load.model, load.accelerator))
        for pair, resident in self._resident.items():
            self._model.add_hint(resident, pair in layout)

    def _bound_accelerators(self) -> None:
        """Memory, time, and which replicas can or must be there."""
        for pair, resident in self._resident.items():
            self._model.add(self._time[pair] <= _WHOLE * resident)
            self._fix(self._snapshot.models[pair[0]], self._states[pair[1]], resident)
        for accelerator in self._snapshot.accelerators:
            sharing = self._sharing[accelerator.name]
            memory = sum(self._resident[pair] * self._held_bytes(pair) for pair in sharing)
            self._model.add(memory <= accelerator.memory_bytes)
            self._model.add(sum(self._time[pair] for pair in sharing) <= _WHOLE)

    def _held_bytes(self, pair: _Pair) -> int:
        """What a replica holds of each of its accelerators before any stage runs."""
        model = self._snapshot.models[pair[0]]
        pool_bytes = 0 if self._states[pair[1]].kv_elastic else model.kv_pool_bytes
        return model.resident_share_bytes(pool_bytes)

    def _fix(self, model: ModelSpec, accelerator: AcceleratorState, resident: cp_model.IntVar) -> None:
        phase = _phases(accelerator).get(model.name)
        stays = phase is ReplicaPhase.READY and accelerator.name in model.pinned_on
        if phase is ReplicaPhase.LOADING or stays:
            self._model.add(resident == 1)
        elif phase is not ReplicaPhase.READY and (model.name, accelerator.name) not in self._snapshot.load_s:
            self._model.add(resident == 0)

    def _bound_budget(self) -> None:
        """Accelerators that a replica takes count as used."""
        by_cluster: dict[str, list[cp_model.IntVar]] = {}
        for accelerator in self._snapshot.accelerators:
            used = self._model.new_bool_var("")
            for pair in self._sharing[accelerator.name]:
                self._model.add_implication(self._resident[pair], used)
            by_cluster.setdefault(accelerator.cluster, []).append(used)
        budget = self._snapshot.budget
        self._model.add(sum(used for found in by_cluster.values() for used in found) <= budget.total)
        for cluster, limit in budget.per_cluster.items():
            self._model.add(sum(by_cluster.get(cluster, ())) <= limit)

    def _worth_of_shares(self) -> cp_model.LinearExpr:
        least = self._model.new_int_var(0, HEADROOM, "")
        shares = []
        for name, demand in self._wanted.items():
            share = self._model.new_int_var(0, HEADROOM, "")
            served = sum(self._rate(pair) * time for pair, time in self._time.items() if pair[0] == name)
            wanted = max(1, min(_LARGEST_RATE, round(10 * demand.tokens_per_s)))
            self._model.add(wanted * share <= served)
            self._model.add(least <= share)
            shares.append(share)
        return cp_model.LinearExpr.sum([LEAST_SHARE * least, *shares])

    def _rate(self, pair: _Pair) -> int:
        """Tenths of tokens a second that a replica serves with a full batch, alone on its accelerators."""
        model, demand, first = self._snapshot.models[pair[0]], self._wanted[pair[0]], self._states[pair[1]]
        speed = model.speeds.get(first.kind)
        if speed is None:
            return 0
        members = [self._states[name] for name in self._snapshot.members(*pair)]
        room_bytes = min(found.memory_bytes for found in members) - self._held_bytes(pair)
        if first.kv_elastic:
            at_once = room_bytes // max(1, model.share_bytes(demand.kv_bytes))
        else:
            at_once = model.kv_pool_bytes // max(1, demand.kv_bytes)
        batch = max(1, min(model.max_batch, at_once, *(found.slots for found in members)))
        return min(_LARGEST_RATE, round(10 * batch * speed.decode_tokens_per_s / slowdown(speed, batch)))

    def _cost_of_churn(self) -> cp_model.LinearExpr:
        """Loads of the plan in force that are left out, and those whom they were to replace and who stay."""
        costs = []
        for load in self._snapshot.in_force.loads:
            resident = self._resident.get((load.model, load.accelerator))
            if resident is None or (load.model, load.accelerator) not in self._snapshot.load_s:
                continue
            cost = COMMITTED if load.committed else round(CHURN * self._snapshot.weights.churn)
            costs.append(cost * (1 - resident))
            if load.committed:
                costs += [cost * self._resident[pair] for pair in sorted(load.evicts & self._resident.keys())]
        return cp_model.LinearExpr.sum(costs)

    def _cost_of_missed_pins(self) -> cp_model.LinearExpr:
        """Pinned models that could be loaded where they belong, and are not."""
        missing = [
            1 - self._resident[name, accelerator]
            for name, accelerator in self._pairs(ready=False)
            if accelerator in self._snapshot.models[name].pinned_on and (name, accelerator) in self._snapshot.load_s
        ]
        return COMMITTED * cp_model.LinearExpr.sum(missing)

    def _pairs(self, *, ready: bool) -> Iterator[_Pair]:
        """The replicas that serve now, or all that are not there."""
        phases = {name: _phases(accelerator) for name, accelerator in self._states.items()}
        for name, accelerator in self._resident:
            phase = phases[accelerator].get(name)
            if phase is ReplicaPhase.READY if ready else phase not in (ReplicaPhase.READY, ReplicaPhase.LOADING):
                yield name, accelerator

    def _cost_of_neighbours(self) -> cp_model.LinearExpr:
        """Every replica beyond the first on an accelerator, since those that share one are slow."""
        costs = []
        for accelerator in self._snapshot.accelerators:
            beyond = self._model.new_int_var(0, len(self._snapshot.models), "")
            residents = sum(self._resident[pair] for pair in self._sharing[accelerator.name])
            self._model.add(beyond >= residents - 1)
            costs.append(NEIGHBOUR * beyond)
        return cp_model.LinearExpr.sum(costs)


def present(snapshot: Snapshot) -> Layout:
    """The replicas that serve or are about to."""
    return {
        accelerator.name: frozenset(
            replica.model
            for replica in accelerator.replicas
            if replica.phase in (ReplicaPhase.READY, ReplicaPhase.LOADING)
        )
        for accelerator in snapshot.accelerators
    }


def _phases(accelerator: AcceleratorState) -> dict[str, ReplicaPhase]:
    return {replica.model: replica.phase for replica in accelerator.replicas}
