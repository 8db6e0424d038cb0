"""A plan of residency alone: which models are loaded where next, and who leaves for them.

The layout is the exact model's; it becomes a plan by being rebased on the snapshot, which gives every load its time,
and passes the checker as any other plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from maestro.plan import Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, Snapshot
from maestro_solver.check import check
from maestro_solver.planner.config import PlannerConfig
from maestro_solver.planner.rebase import rebase
from maestro_solver.planner.residency_model import Layout, LayoutResult, ResidencyModel, SolverLimits

_ORDER_S = 1e-3
"""Loads are this far apart before they are rebased: it only says which one comes first."""


def plan_residency(
    snapshot: Snapshot, config: PlannerConfig, clock: Callable[[], float], announce: Callable[[Plan], None]
) -> Plan:
    """The valid plan of the best layout found within the limit; the one that changes nothing where there is none.

    The latter is announced first, so that a caller who ends the call early has a plan. Raises InvalidInputError where
    the snapshot contradicts itself.
    """
    started_s = clock()
    announce(_plan(snapshot, config, _present(snapshot), _unchanged(snapshot, Reason.SOLVER_TIMED_OUT)))
    model = ResidencyModel(snapshot)
    built_s = clock()
    spent_s = 0.0 if config.deterministic else built_s - started_s + config.margin_s
    found = model.solve(SolverLimits(config.limit_s - spent_s, config.workers, config.seed, config.deterministic))
    if found.layout is None:
        return _plan(snapshot, config, _present(snapshot), _unchanged(snapshot, Reason.SOLVER_TIMED_OUT))
    provenance = _provenance(snapshot, found, built_s - started_s, clock() - built_s)
    made = _plan(snapshot, config, found.layout, provenance)
    if check(snapshot, made):
        return _plan(snapshot, config, _present(snapshot), _unchanged(snapshot, Reason.PLAN_REJECTED_BY_CHECKER))
    return made


def _plan(snapshot: Snapshot, config: PlannerConfig, layout: Layout, provenance: Provenance) -> Plan:
    """The layout's loads in the order of need, each as soon as who leaves for it has gone."""
    loads = sorted(_loads(snapshot, layout), key=lambda pair: (_served(snapshot, pair[0]), pair))
    starts = {pair: position * _ORDER_S for position, pair in enumerate(loads)}
    residencies = [*_initial(snapshot, layout, starts), *(_load(snapshot, pair, at) for pair, at in starts.items())]
    raw = Plan(snapshot.taken_at_s, config.horizon_s, (), tuple(residencies), (), provenance)
    return rebase(raw, snapshot, tick_s=config.tick_s)


def _loads(snapshot: Snapshot, layout: Layout) -> Iterator[tuple[str, str]]:
    present = _present(snapshot)
    for accelerator in snapshot.accelerators:
        for model in sorted(layout[accelerator.name] - present[accelerator.name]):
            yield model, accelerator.name


def _served(snapshot: Snapshot, model: str) -> float:
    """How well a model is off: its replicas for what is wanted of it."""
    demand = snapshot.demand.get(model)
    replicas = sum(model in models for models in _present(snapshot).values())
    return replicas / demand.tokens_per_s if demand is not None and demand.tokens_per_s > 0.0 else float("inf")


def _initial(snapshot: Snapshot, layout: Layout, starts: dict[tuple[str, str], float]) -> Iterator[Residency]:
    """The replicas there are. One leaves only where a load takes its place."""
    for accelerator in snapshot.accelerators:
        own = [at for (_, name), at in starts.items() if name == accelerator.name]
        for replica in accelerator.replicas:
            leaves = replica.phase is ReplicaPhase.READY and replica.model not in layout[accelerator.name] and own
            end_s = min(own) if leaves else None
            yield Residency(
                accelerator.name,
                replica.model,
                0.0,
                replica.ready_in_s,
                end_s,
                initial=True,
                kv_pool_bytes=replica.kv_pool_bytes,
            )


def _load(snapshot: Snapshot, pair: tuple[str, str], at_s: float) -> Residency:
    model, accelerator = pair
    elastic = next(found.kv_elastic for found in snapshot.accelerators if found.name == accelerator)
    pool_bytes = 0 if elastic else snapshot.models[model].kv_pool_bytes
    ready_s = at_s + snapshot.load_s[model, accelerator]
    return Residency(accelerator, model, at_s, ready_s, None, initial=False, kv_pool_bytes=pool_bytes)


def _present(snapshot: Snapshot) -> Layout:
    return {
        accelerator.name: frozenset(
            replica.model
            for replica in accelerator.replicas
            if replica.phase in (ReplicaPhase.READY, ReplicaPhase.LOADING)
        )
        for accelerator in snapshot.accelerators
    }


def _provenance(snapshot: Snapshot, found: LayoutResult, build_s: float, solve_s: float) -> Provenance:
    return Provenance(
        snapshot_version=snapshot.version,
        source=PlanSource.CP_SAT,
        status=SolveStatus.OPTIMAL if found.optimal else SolveStatus.FEASIBLE,
        objective=found.missed,
        terms={"demand_missed": found.missed},
        bound=found.bound,
        gap=(found.missed - found.bound) / max(found.missed, 1e-6),
        build_s=build_s,
        solve_s=solve_s,
        total_s=build_s + solve_s,
        policy="residency",
    )


def _unchanged(snapshot: Snapshot, reason: Reason) -> Provenance:
    return Provenance(
        snapshot_version=snapshot.version,
        source=PlanSource.PORTFOLIO,
        status=SolveStatus.HEURISTIC,
        objective=0.0,
        terms={},
        fallback_reason=reason,
        policy="unchanged",
    )
