"""Tests that the capacity checker finds every kind of fault that is put into a good plan."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from capacity_cases import demand, fleet, model, problem, speed

from maestro_solver.capacity import CapacityPlan, PlannedReplica, solve, violations

CASE = problem(
    fleet(
        model("m", speeds={"gpu": speed(batch_slope=0.1)}),
        model("o", pinned_on=frozenset({"c-0"})),
        model("tpu-only", speeds={"tpu": speed()}),
        per_cluster={"c": 2},
    ),
    demand("d", requests_per_s=5.0, max_latency_s=1.5),
    demand("e", "o", requests_per_s=0.1),
)
PLAN = solve(CASE, 2, 20.0)


def replica(**changes: object) -> Callable[[CapacityPlan], CapacityPlan]:
    """A fault in the replica of model m that is alone on its accelerator."""

    def broken(plan: CapacityPlan) -> CapacityPlan:
        alone = next(one for one in plan.replicas if one.accelerator == "c-1")
        others = tuple(one for one in plan.replicas if one is not alone)
        return replace(plan, replicas=(*others, replace(alone, **changes)))  # type: ignore[arg-type]

    return broken


def twice(plan: CapacityPlan) -> CapacityPlan:
    alone = next(one for one in plan.replicas if one.accelerator == "c-1")
    return replace(plan, replicas=(*plan.replicas, alone))


def without_pinned(plan: CapacityPlan) -> CapacityPlan:
    kept: tuple[PlannedReplica, ...] = tuple(one for one in plan.replicas if one.model != "o")
    return replace(plan, replicas=kept)


def test_a_good_plan_has_no_violations() -> None:
    assert PLAN.accelerators_used == 2
    assert violations(CASE, PLAN) == ()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (replica(accelerator="c-9"), "not in the fleet"),
        (replica(batch=0), "batch 0"),
        (replica(batch=5), "slots"),
        (replica(batch=5), "batch 5"),
        (replica(kv_pool_bytes=99), "the model's is 100"),
        (replica(kv_pool_bytes=9), "does not fit the KV pool"),
        (replica(kv_pool_bytes=10_000), "bytes are taken"),
        (replica(model="tpu-only"), "cannot run on gpu"),
        (replica(load=0.1), "the plan says 0.1"),
        (replica(requests_per_s={"d": 4.9}), "more than 1"),
        (replica(requests_per_s={"e": 1.0}), "asks for o"),
        (replica(requests_per_s={}), "replicas serve"),
        (replica(accelerator="c-0"), "the plan says 2"),
        (twice, "two replicas"),
        (without_pinned, "pinned"),
        (lambda plan: replace(plan, budget=1), "the budget is 1"),
        (lambda plan: replace(plan, accelerators_used=1), "the plan says 1"),
        (lambda plan: replace(plan, served={"d": 0.5, "e": 1.0}), "replicas serve"),
    ],
)
def test_a_fault_is_found(fault: Callable[[CapacityPlan], CapacityPlan], expected: str) -> None:
    assert any(expected in found for found in violations(CASE, fault(PLAN)))


def test_limits_of_the_problem_are_those_that_count() -> None:
    tight = replace(CASE, fleet=replace(CASE.fleet, budget=replace(CASE.fleet.budget, per_cluster={"c": 1})))
    assert any("its limit is 1" in found for found in violations(tight, PLAN))
    quick = replace(CASE, demands=(replace(CASE.demands[0], max_latency_s=0.5), CASE.demands[1]))
    assert any("its limit is 0.5 s" in found for found in violations(quick, PLAN))
    short = replace(CASE.fleet.models["m"], context_tokens=5)
    shorter = replace(CASE, fleet=replace(CASE.fleet, models={**CASE.fleet.models, "m": short}))
    assert any("longer than the context" in found for found in violations(shorter, PLAN))


def test_a_replica_fills_its_accelerators_to_the_last_byte() -> None:
    """Weights and pool are shared out together: half of 401 + 101 bytes is 251, not 201 + 51."""
    wide = problem(
        fleet(model("wide", weights_bytes=401, kv_pool_bytes=101, size=2), memory_bytes=251),
        demand("d", "wide", requests_per_s=0.1),
    )
    plan = solve(wide, 2, 20.0)
    assert plan.replicas
    assert violations(wide, plan) == ()
