"""What the model decides about: the stages, options and residency copies that are left after pruning."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from maestro_solver.bounds import critical_path_bound, earliest_ends, overrun_bound
from maestro_solver.cpsat.overfull import closed_accelerators
from maestro_solver.instance import GridOption, Instance
from maestro_solver.schedule import Schedule

Pair = tuple[int, int]
"""A model and an accelerator, by position."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """``max_candidates`` accelerators per model are considered, and ``max_loads`` loads per pair at most.

    The model's horizon is at most ``max_stretch`` times the instance's.
    """

    max_candidates: int
    max_loads: int
    max_stretch: int = 4


@dataclass(frozen=True)
class ModelData:
    """An instance as the model sees it.

    ``horizon`` is the model's own, in ticks: a stage that starts later is deferred. It reaches beyond the instance's
    as far as the incumbent does, so that the model weighs what its decisions mean for the stages after the plan's end.
    ``incumbent`` is what the schedule that the model was pruned around starts within it.

    ``stages`` are the positions it plans (LLM and tool stages without an obstacle), ``options`` the options left per
    LLM stage. ``replicas`` lists, per pair, the snapshot's replicas that can serve; ``loads`` how many loads the model
    may begin. Every time lies before ``last``; a residency that ends then stays. ``earliest`` is a lower bound on each
    stage's start.

    ``charge`` is added to a deferred stage's end for the queue beyond the horizon. ``must_place``: no stage may be
    deferred, since what lies beyond the model's horizon would look cheaper than it is.

    ``latest`` is by when stages have to start that go before all others: when the incumbent, which places them first,
    starts them.

    ``unexpressed_bound`` and ``deferring_bound`` are what the plans cost at least that the model cannot express: those
    with more loads, and where none may be deferred those that defer (infinity: there are none; None: not known).

    ``fixed`` are the starts of stages that are not decided about; what is resident when always is.
    """

    instance: Instance
    horizon: int
    stages: tuple[int, ...]
    options: Mapping[int, tuple[GridOption, ...]]
    replicas: Mapping[Pair, tuple[int, ...]]
    loads: Mapping[Pair, int]
    last: int
    earliest: Mapping[int, int]
    charge: int
    must_place: bool
    unexpressed_bound: float | None
    deferring_bound: float
    incumbent: Schedule
    latest: Mapping[int, int]
    fixed: Mapping[int, int] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs that some stage may use."""
        found = {(option.model, option.accelerator) for options in self.options.values() for option in options}
        return tuple(sorted(found))

    @property
    def other_plans_bound(self) -> float | None:
        """The lesser of it and the bound of the model itself holds for all plans; None where that is not known."""
        return None if self.unexpressed_bound is None else min(self.unexpressed_bound, self.deferring_bound)

    def deferring(self, incumbent: Schedule) -> ModelData:
        """The same with deferral allowed: a relaxation of all plans that the model can express."""
        planned = _planned(self.instance, incumbent, self.horizon)
        return replace(self, must_place=False, deferring_bound=math.inf, incumbent=planned)

    def around(self, free: Collection[int]) -> ModelData:
        """The same where only the stages of ``free`` may be moved; the others stay as the incumbent has them."""
        kept = {position: span.start for position, span in self.incumbent.spans.items() if position not in free}
        options = {
            position: (self.incumbent.options[position],) if position in kept else found
            for position, found in self.options.items()
        }
        return replace(self, options=options, fixed=kept)

    @property
    def size(self) -> int:
        """How many ways there are to place a stage in a residency, over all stages: what building the model costs."""
        copies = {pair: len(self.replicas.get(pair, ())) + self.loads.get(pair, 0) for pair in self.pairs}
        return sum(1 + copies[option.model, option.accelerator] for found in self.options.values() for option in found)

    def standstill(self, position: int) -> int:
        """Where a stage's start stands while it is deferred: the earliest its variable allows."""
        highest = self.last if self.instance.stages[position].external is not None else self.horizon - 1
        return min(self.earliest[position], highest)


def prepare(instance: Instance, complete: Schedule, limits: ModelLimits) -> ModelData:
    """Prune the instance around a complete schedule, of which everything is kept so that it remains a solution."""
    horizon = _stretched(instance, complete, limits.max_stretch)
    planned = _planned(instance, complete, horizon)
    stages = tuple(position for position, stage in enumerate(instance.stages) if stage.obstacle is None)
    candidates, pruned = _candidates(instance, planned, limits.max_candidates)
    closed = closed_accelerators(instance)
    options = {
        position: tuple(
            option
            for option in instance.stages[position].options
            if (option.model, option.accelerator) in candidates
            and closed.isdisjoint(instance.members(option.model, option.accelerator))
        )
        for position in stages
        if instance.stages[position].external is None
    }
    loads, uncovered_s = _loads(instance, planned, options, horizon, limits.max_loads)
    must_place = all(_is_kept(planned, position, options) for position in stages)
    more_loads = math.inf if uncovered_s is None else instance.weights.swap * uncovered_s
    more_loads_bound = critical_path_bound(instance) + more_loads
    charge = _queue_charge(horizon, planned, complete)
    latest = {
        position: planned.spans[position].start
        for position in instance.first
        if _is_kept(planned, position, options) and planned.spans[position].start < horizon
    }
    return ModelData(
        instance=instance,
        horizon=horizon,
        stages=stages,
        options=options,
        replicas=_replicas(instance),
        loads=loads,
        last=_last(instance, stages, horizon),
        earliest=_earliest(instance, stages),
        charge=charge,
        must_place=must_place,
        unexpressed_bound=None if pruned or closed or charge or latest else more_loads_bound,
        deferring_bound=overrun_bound(instance, horizon) if must_place else math.inf,
        incumbent=planned,
        latest=latest,
    )


def _is_kept(planned: Schedule, position: int, options: Mapping[int, tuple[GridOption, ...]]) -> bool:
    """Whether the model can repeat what the incumbent does with a stage, and that is to run it."""
    return position in planned.spans and (position not in options or planned.options[position] in options[position])


def _planned(instance: Instance, complete: Schedule, horizon: int) -> Schedule:
    """What starts before the horizon, and the tool stages behind it, which the model defers only with others."""
    planned = complete.within(horizon)
    spans = dict(planned.spans)
    for position, span in sorted(complete.spans.items(), key=lambda entry: entry[1]):
        stage = instance.stages[position]
        if stage.external is not None and all(before in spans for before in stage.predecessors):
            spans[position] = span
    return replace(planned, spans=spans)


def _stretched(instance: Instance, complete: Schedule, max_stretch: int) -> int:
    """A horizon with room for a quarter more than the whole schedule, within the limit."""
    makespan = max((span.end for span in complete.spans.values()), default=0)
    return max(instance.horizon, min(max_stretch * instance.horizon, makespan + makespan // 4))


def _candidates(instance: Instance, planned: Schedule, limit: int) -> tuple[set[Pair], bool]:
    """Per model the accelerators worth considering, and whether any was left out.

    Those that the incumbent uses come first, then those with a replica, then the quickest to load.
    """
    used = {(option.model, option.accelerator) for option in planned.options.values()}
    resident = {(found.model, found.accelerator) for found in instance.replicas if not found.draining}
    by_model: dict[int, set[Pair]] = defaultdict(set)
    for stage in instance.stages:
        for option in stage.options:
            by_model[option.model].add((option.model, option.accelerator))
    chosen: set[Pair] = set()
    for pairs in by_model.values():
        ranked = sorted(
            pairs, key=lambda pair: (pair not in used, pair not in resident, instance.load.get(pair, 0), pair)
        )
        kept = max(limit, len(used & pairs))
        chosen.update(ranked[:kept])
    return chosen, len(chosen) < sum(len(pairs) for pairs in by_model.values())


def _replicas(instance: Instance) -> dict[Pair, tuple[int, ...]]:
    found: dict[Pair, list[int]] = defaultdict(list)
    for position, replica in enumerate(instance.replicas):
        if not replica.draining:
            found[replica.model, replica.accelerator].append(position)
    return {pair: tuple(positions) for pair, positions in found.items()}


def _loads(
    instance: Instance,
    planned: Schedule,
    options: Mapping[int, tuple[GridOption, ...]],
    horizon: int,
    limit: int,
) -> tuple[dict[Pair, int], float | None]:
    """How many loads of each pair the model may begin, and the least load time of a plan that begins more, in seconds.

    The second is None where no plan can begin more within the horizon.
    Loads of a node share its link. With fixed pools a model is loaded again only after another was loaded in its
    place, so that k loads of one pair come with k - 1 others.
    """
    found: dict[Pair, int] = {}
    uncovered: list[int] = []
    quickest = _quickest_loads(instance)
    begun = Counter((each.model, each.accelerator) for each in planned.residents if each.replica is None)
    for pair in {(option.model, option.accelerator) for offered in options.values() for option in offered}:
        load = instance.load.get(pair)
        if load is None:
            continue
        elastic = instance.accelerators[pair[1]].elastic
        between = 0 if elastic else min(quickest[member] for member in instance.members(*pair))
        most = (horizon + between) // max(1, load + between)
        found[pair] = max(begun[pair], min(limit, most))
        if found[pair] < most:
            uncovered.append((found[pair] + 1) * load + found[pair] * between)
    return found, instance.grid.seconds(min(uncovered)) if uncovered else None


def _quickest_loads(instance: Instance) -> dict[int, int]:
    """By accelerator, the shortest load that takes some of it."""
    found: dict[int, int] = {}
    for pair, ticks in instance.load.items():
        for member in instance.members(*pair):
            found[member] = min(ticks, found.get(member, ticks))
    return found


def _last(instance: Instance, stages: tuple[int, ...], horizon: int) -> int:
    """A tick by which everything planned has ended."""
    longest = max((option.duration for at in stages for option in instance.stages[at].options), default=0)
    external = sum(instance.stages[at].external or 0 for at in stages)
    replicas = max((max(found.ready, found.busy_until) for found in instance.replicas), default=0)
    running = max((found.end for found in instance.running), default=0)
    release = max((max(instance.stages[at].release) for at in stages), default=0)
    return max(horizon, release, replicas, running) + longest + external + 1


def _earliest(instance: Instance, stages: tuple[int, ...]) -> dict[int, int]:
    """A lower bound on each stage's start: its release and its predecessors' earliest ends."""
    ends = earliest_ends(instance)
    return {
        position: max(
            [
                min(instance.stages[position].release),
                *(ends[before] for before in instance.stages[position].predecessors),
            ]
        )
        for position in stages
    }


def _queue_charge(horizon: int, planned: Schedule, complete: Schedule) -> int:
    """How long the incumbent's deferred stages wait beyond the horizon, on average; 0 if it defers none."""
    waits = [max(0, span.start - horizon) for position, span in complete.spans.items() if position not in planned.spans]
    return sum(waits) // len(waits) if waits else 0
