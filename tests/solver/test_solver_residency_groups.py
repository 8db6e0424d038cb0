"""Plans of residency with a model that takes two accelerators at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from snapshot_builders import accelerator, assignment, initial, load, model, plan_of, replica, snapshot, stage, workflow
from tiny_groups import MODELS

from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.snapshot import (
    AcceleratorState,
    LoadInForce,
    ModelDemand,
    PlanInForce,
    ReplicaPlace,
    ReplicaState,
    Snapshot,
)
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.rebase import rebase
from maestro_solver.planner.residency_model import EVICTION

CONFIG = PlannerConfig(limit_s=0.5, horizon_s=120.0, deterministic=True)
WIDE = replica("wide", pool=40)
SMALL = replica("alpha")


def node(*there: ReplicaState | None) -> list[AcceleratorState]:
    """A node of accelerators that have room for one replica, or for half of wide."""
    return [
        accelerator(f"gpu{position}", *([found] if found else []), node="n") for position, found in enumerate(there)
    ]


def wanted(*there: ReplicaState | None, **demand: float) -> Snapshot:
    given = snapshot(node(*there), [], models=MODELS)
    return replace(given, demand={name: ModelDemand(tokens, 5) for name, tokens in demand.items()})


def plan_it(given: Snapshot) -> Plan:
    ticks = count()
    found = plan(given, CONFIG, lambda: next(ticks) * 1e-3)
    assert check(given, found) == ()
    return found


def loads(found: Plan) -> list[tuple[str, str]]:
    return [(each.accelerator, each.model) for each in found.residencies if not each.initial]


def leaving(found: Plan) -> list[tuple[str, str]]:
    return [(each.accelerator, each.model) for each in found.residencies if each.end_s is not None]


def test_accelerators_are_shared_out_between_small_and_large_models() -> None:
    found = loads(plan_it(wanted(None, None, None, None, alpha=400.0, wide=200.0)))
    assert sorted(model for _, model in found) == ["alpha", "alpha", "wide"]


def test_what_is_on_any_of_its_accelerators_leaves_for_it() -> None:
    found = plan_it(wanted(SMALL, SMALL, wide=200.0))
    assert loads(found) == [("gpu0", "wide")]
    assert leaving(found) == [("gpu0", "alpha"), ("gpu1", "alpha")]


def test_it_leaves_for_what_takes_its_second_accelerator() -> None:
    found = plan_it(
        replace(wanted(WIDE, None, alpha=400.0), in_force=in_force("gpu1", "alpha", ReplicaPlace("wide", "gpu0")))
    )
    assert leaving(found) == [("gpu0", "wide")]
    assert ("gpu1", "alpha") in loads(found)


def crowded(**demand: float) -> Snapshot:
    """Alpha on two accelerators, beta beside it on the first; each holds two small ones, or one and half of wide."""
    fleet = [
        accelerator("gpu0", SMALL, replica("beta"), memory=160, node="n"),
        accelerator("gpu1", SMALL, memory=160, node="n"),
    ]
    given = snapshot(fleet, [], models=[*MODELS, model("beta")])
    return replace(given, demand={name: ModelDemand(tokens, 5) for name, tokens in demand.items()})


def test_a_replica_that_the_layout_keeps_stays_where_another_of_its_model_leaves() -> None:
    found = plan_it(crowded(alpha=100.0, beta=100.0, wide=100.0))
    assert loads(found) == [("gpu0", "wide")]
    assert len(leaving(found)) == 1
    assert found.provenance.terms["evictions"] == EVICTION


def test_a_plan_of_stages_keeps_its_replicas_when_it_is_shifted() -> None:
    """Tests that of two replicas of a model, on both accelerators that a load takes, the one that is used stays."""
    given = crowded()
    given = replace(given, waiting=(stage("a", "alpha"), stage("w", "wide")), workflows=(workflow(),))
    made = plan_of(
        [assignment("a", "gpu1", 0.0), assignment("w", "gpu0", 10.0, "wide")],
        [
            initial("gpu0", "alpha", end_s=0.0),
            initial("gpu0", "beta"),
            initial("gpu1", "alpha"),
            load("gpu0", "wide", 0.0, 10.0, pool=40),
        ],
    )
    assert check(given, made) == ()
    shifted = rebase(made, given, tick_s=0.1)
    assert leaving(shifted) == [("gpu0", "alpha")]
    assert {found.stage.stage for found in shifted.assignments} == {"a", "w"}


def in_force(on: str, model: str, *evicts: ReplicaPlace) -> PlanInForce:
    return PlanInForce(loads=(LoadInForce(on, model, 1.0, frozenset(evicts), committed=True),))


def test_all_of_its_accelerators_count_for_the_budget() -> None:
    given = wanted(None, None, None, alpha=100.0, wide=100.0)
    assert {model for _, model in loads(plan_it(given))} == {"alpha", "wide"}
    assert {model for _, model in loads(plan_it(replace(given, budget=GpuBudget(2))))} != {"alpha", "wide"}
    assert {model for _, model in loads(plan_it(replace(given, budget=GpuBudget(1))))} == {"alpha"}
