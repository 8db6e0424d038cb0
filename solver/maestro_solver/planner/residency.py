"""A plan of residency alone: which models are loaded where next, and who leaves for them.

The layout is the exact model's; it becomes a plan by being carried out on the snapshot, which gives every load its
time, and passes the checker as any other plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from maestro.plan import Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import LoadInForce, PlanInForce, ReplicaPhase, ReplicaPlace, Snapshot
from maestro_solver.check import check
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.rebase import Decisions, carried_over
from maestro_solver.planner.residency_model import Layout, LayoutResult, ResidencyModel, SolverLimits, present

_ORDER_S = 1e-3
"""Loads are this far apart before they are carried out: it only says which one comes first."""


def plan_residency(
    snapshot: Snapshot, config: PlannerConfig, clock: Callable[[], float], announce: Callable[[Plan], None]
) -> Plan:
    """The valid plan of the best layout found within the limit; the plan in force, shifted to now, where there is none.

    The latter is announced first, so that a caller who ends the call early has a plan. Raises InvalidInputError where
    the snapshot contradicts itself.
    """
    started_s = clock()
    announce(_unchanged(snapshot, config, Reason.SOLVER_TIMED_OUT))
    model = ResidencyModel(snapshot)
    built_s = clock()
    spent_s = 0.0 if config.deterministic else built_s - started_s + config.margin_s
    found = model.solve(SolverLimits(config.limit_s - spent_s, config.workers, config.seed, config.deterministic))
    if found.layout is None:
        return _unchanged(snapshot, config, Reason.SOLVER_TIMED_OUT)
    provenance = _provenance(snapshot, found, built_s - started_s, clock() - built_s)
    made = carried_over(
        Decisions(_loads(snapshot, found.layout), config.horizon_s, provenance), snapshot, config.tick_s
    )
    if check(snapshot, made):
        return _unchanged(snapshot, config, Reason.PLAN_REJECTED_BY_CHECKER)
    return made


def _unchanged(snapshot: Snapshot, config: PlannerConfig, reason: Reason) -> Plan:
    """The plan in force goes on; where not even that is valid, nothing is loaded."""
    provenance = Provenance(
        snapshot_version=snapshot.version,
        source=PlanSource.PORTFOLIO,
        status=SolveStatus.HEURISTIC,
        objective=0.0,
        terms={},
        fallback_reason=reason,
        policy="in_force",
    )
    made = carried_over(Decisions(snapshot.in_force, config.horizon_s, provenance), snapshot, config.tick_s)
    if check(snapshot, made):
        made = carried_over(Decisions(PlanInForce(), config.horizon_s, provenance), snapshot, config.tick_s)
    return made


def _loads(snapshot: Snapshot, layout: Layout) -> PlanInForce:
    """The layout's loads: those of the plan in force in its order, then the others in the order of need.

    Who leaves an accelerator does so for the first load that takes it, and nobody leaves where nothing is loaded.
    """
    order = {(load.model, load.accelerator): at for at, load in enumerate(snapshot.in_force.loads)}
    pairs = sorted(
        _missing(snapshot, layout),
        key=lambda pair: (order.get(pair, len(order)), _served(snapshot, pair[0]), pair),
    )
    leaving = _leaving(snapshot, layout)
    loads = []
    for at, (model, accelerator) in enumerate(pairs):
        members = snapshot.members(model, accelerator)
        evicts = {place for member in members for place in leaving.pop(member, ())}
        loads.append(LoadInForce(accelerator, model, at * _ORDER_S, frozenset(evicts)))
    return PlanInForce(loads=tuple(loads))


def _missing(snapshot: Snapshot, layout: Layout) -> Iterator[tuple[str, str]]:
    there = present(snapshot)
    for accelerator in snapshot.accelerators:
        for model in sorted(layout[accelerator.name] - there[accelerator.name]):
            yield model, accelerator.name


def _served(snapshot: Snapshot, model: str) -> float:
    """How well a model is off: its replicas for what is wanted of it."""
    demand = snapshot.demand.get(model)
    replicas = sum(model in models for models in present(snapshot).values())
    return replicas / demand.tokens_per_s if demand is not None and demand.tokens_per_s > 0.0 else float("inf")


def _leaving(snapshot: Snapshot, layout: Layout) -> dict[str, set[ReplicaPlace]]:
    """By accelerator the replicas that take it, serve now and have no place in the layout."""
    found: dict[str, set[ReplicaPlace]] = defaultdict(set)
    for accelerator in snapshot.accelerators:
        for replica in accelerator.replicas:
            if replica.phase is ReplicaPhase.READY and replica.model not in layout[accelerator.name]:
                for name in snapshot.members(replica.model, accelerator.name):
                    found[name].add(ReplicaPlace(replica.model, accelerator.name))
    return found


def _provenance(snapshot: Snapshot, found: LayoutResult, build_s: float, solve_s: float) -> Provenance:
    return Provenance(
        snapshot_version=snapshot.version,
        source=PlanSource.CP_SAT,
        status=SolveStatus.OPTIMAL if found.optimal else SolveStatus.FEASIBLE,
        objective=found.cost,
        terms=found.terms,
        bound=found.bound,
        gap=(found.cost - found.bound) / max(found.cost, 1e-6),
        build_s=build_s,
        solve_s=solve_s,
        total_s=build_s + solve_s,
        policy="residency",
    )
