"""Plans of residency: what is loaded where for a demand, and what is left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_builders import accelerator, model, replica
from snapshot_strategy import snapshots

from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.snapshot import AcceleratorState, ModelDemand, ObjectiveWeights, ReplicaPhase, Snapshot
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan

CONFIG = PlannerConfig(limit_s=0.5, horizon_s=120.0, deterministic=True)


def fleet(*accelerators: AcceleratorState, budget: int | None = None, **demand: float) -> Snapshot:
    """Models of 55 and pools of 20 on accelerators of 100: one fits each. A full batch of four serves 200 tokens/s."""
    models = {name: model(name) for name in ("alpha", "beta")}
    return Snapshot(
        version=1,
        taken_at_s=0.0,
        accelerators=accelerators,
        models=models,
        load_s={(name, found.name): 10.0 for name in models for found in accelerators},
        workflows=(),
        waiting=(),
        running=(),
        budget=GpuBudget(budget or len(accelerators)),
        network_delay_s=0.0,
        weights=ObjectiveWeights(),
        demand={name: ModelDemand(tokens, 5) for name, tokens in demand.items()},
    )


def plan_it(snapshot: Snapshot) -> Plan:
    ticks = count()
    found = plan(snapshot, CONFIG, lambda: next(ticks) * 1e-3)
    assert check(snapshot, found) == ()
    return found


def loads(found: Plan) -> list[tuple[str, str]]:
    return [(r.accelerator, r.model) for r in found.residencies if not r.initial]


def residents(found: Plan) -> Mapping[str, list[str]]:
    """The models that stay, by accelerator."""
    stay: dict[str, list[str]] = {}
    for residency in found.residencies:
        if residency.end_s is None:
            stay.setdefault(residency.accelerator, []).append(residency.model)
    return stay


def test_replicas_are_shared_out_by_demand() -> None:
    found = plan_it(fleet(*(accelerator(f"a{i}") for i in range(4)), alpha=600.0, beta=200.0))
    assert sorted(model for _, model in loads(found)) == ["alpha", "alpha", "alpha", "beta"]


def test_a_pinned_model_comes_to_its_place_and_others_go_elsewhere() -> None:
    """Tests that a demand for another model does not take the place, and that no demand of its own is needed."""
    found = plan_it(pinned(fleet(accelerator("a"), accelerator("b"), alpha=900.0), "beta", "a"))
    assert sorted(loads(found)) == [("a", "beta"), ("b", "alpha")]


def test_a_pin_waits_where_another_model_is_loading_into_its_place() -> None:
    busy = accelerator("a", replica("alpha", ReplicaPhase.LOADING, 5.0))
    assert loads(plan_it(pinned(fleet(busy, alpha=10.0), "beta", "a"))) == []


def pinned(snapshot: Snapshot, name: str, *places: str) -> Snapshot:
    """The snapshot with a model pinned on accelerators."""
    return replace(snapshot, models={**snapshot.models, name: model(name, pinned_on=places)})


def test_nothing_is_loaded_beyond_what_a_small_demand_needs() -> None:
    assert len(loads(plan_it(fleet(*(accelerator(f"a{i}") for i in range(4)), alpha=50.0)))) == 1


def test_the_budget_holds() -> None:
    found = plan_it(fleet(*(accelerator(f"a{i}") for i in range(4)), budget=2, alpha=600.0, beta=600.0))
    assert len({name for name, _ in loads(found)}) == 2


def test_a_replica_leaves_only_where_the_least_served_model_gains_much() -> None:
    slight = fleet(accelerator("a", replica("alpha")), accelerator("b", replica("beta")), alpha=220.0, beta=200.0)
    assert loads(plan_it(slight)) == []
    lacking = fleet(accelerator("a", replica("alpha")), accelerator("b", replica("alpha")), alpha=100.0, beta=100.0)
    found = plan_it(lacking)
    assert [model for _, model in loads(found)] == ["beta"]
    assert sorted(model for stay in residents(found).values() for model in stay) == ["alpha", "beta"]


def test_what_is_being_loaded_stays() -> None:
    loading = replica("alpha", ReplicaPhase.LOADING, ready_in_s=5.0)
    found = plan_it(fleet(accelerator("a", loading), beta=500.0))
    assert loads(found) == []


def test_a_bound_is_told_and_holds() -> None:
    provenance = plan_it(fleet(*(accelerator(f"a{i}") for i in range(4)), alpha=600.0, beta=900.0)).provenance
    assert provenance.bound is not None
    assert 0.0 <= provenance.bound <= provenance.objective


def test_a_caller_who_ends_the_call_early_has_the_plan_that_changes_nothing() -> None:
    announced: list[Plan] = []
    snapshot = fleet(accelerator("a", replica("alpha")), beta=500.0)
    ticks = count()
    plan(snapshot, CONFIG, lambda: next(ticks) * 1e-3, announced.append)
    assert announced
    assert check(snapshot, announced[0]) == ()
    assert loads(announced[0]) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(snapshots(), st.data())
def test_any_fleet_and_demand_get_a_plan_that_the_checker_passes(snapshot: Snapshot, data: st.DataObject) -> None:
    demand = {
        name: ModelDemand(data.draw(st.floats(0.0, 1e6)), data.draw(st.integers(0, 1 << 40)))
        for name in snapshot.models
    }
    wanted = replace(snapshot, waiting=(), workflows=(), running=snapshot.running, demand=demand)
    found = plan_it(wanted)
    kept = {(load.accelerator, load.model) for load in wanted.in_force.loads}
    assert found.provenance.fallback_reason is None or kept.issuperset(loads(found))
