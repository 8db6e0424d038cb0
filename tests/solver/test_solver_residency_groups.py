"""Plans of residency with a model that takes two accelerators at once."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from snapshot_builders import accelerator, replica, snapshot
from tiny_groups import MODELS

from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.snapshot import AcceleratorState, LoadInForce, ModelDemand, PlanInForce, ReplicaState, Snapshot
from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan

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
    found = plan_it(replace(wanted(WIDE, None, alpha=400.0), in_force=in_force("gpu1", "alpha", "wide")))
    assert leaving(found) == [("gpu0", "wide")]
    assert ("gpu1", "alpha") in loads(found)


def in_force(on: str, model: str, *evicts: str) -> PlanInForce:
    return PlanInForce(loads=(LoadInForce(on, model, 1.0, frozenset(evicts), committed=True),))


def test_all_of_its_accelerators_count_for_the_budget() -> None:
    given = wanted(None, None, None, alpha=100.0, wide=100.0)
    assert {model for _, model in loads(plan_it(given))} == {"alpha", "wide"}
    assert {model for _, model in loads(plan_it(replace(given, budget=GpuBudget(2))))} != {"alpha", "wide"}
    assert {model for _, model in loads(plan_it(replace(given, budget=GpuBudget(1))))} == {"alpha"}
