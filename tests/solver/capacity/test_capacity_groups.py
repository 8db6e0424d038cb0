"""Tests of capacity plans with models whose replicas take several accelerators of a node at once."""

from dataclasses import replace

import pytest
from capacity_cases import demand, fleet, model, problem

from maestro.errors import InvalidInputError
from maestro_solver.capacity import Binding, CapacityPlan, CapacityProblem, CapacityStatus, solve, violations

WIDE = model("wide", 1200, kv_pool_bytes=200, size=2)
"""It takes 700 of 1000 on each of two accelerators; a replica serves four requests of a second at once."""

SMALL = model("m")


def solved(case: CapacityProblem, budget: int) -> CapacityPlan:
    found = solve(case, budget, 20.0)
    assert violations(case, found) == ()
    return found


def places(found: CapacityPlan) -> list[tuple[str, str]]:
    return sorted((one.accelerator, one.model) for one in found.replicas)


def test_a_replica_takes_all_of_its_accelerators() -> None:
    found = solved(problem(fleet(WIDE, clusters={"c": 4}), demand("d", "wide", 4.0)), 4)
    assert found.status is CapacityStatus.OPTIMAL
    assert (found.accelerators_used, places(found)) == (2, [("c-0", "wide")])


def test_small_models_get_the_accelerators_that_are_left() -> None:
    case = problem(fleet(WIDE, SMALL, clusters={"c": 3}), demand("d", "wide", 4.0), demand("e", "m", 4.0))
    found = solved(case, 3)
    assert (found.status, found.accelerators_used) == (CapacityStatus.OPTIMAL, 3)
    assert places(found) == [("c-0", "wide"), ("c-2", "m")]
    fewer = solved(case, 2)
    assert fewer.status is CapacityStatus.INFEASIBLE
    assert fewer.shortfall is not None
    assert (fewer.shortfall.binding, fewer.shortfall.least_accelerators) == (Binding.BUDGET, 3)


def test_large_and_larger_models_share_a_node_without_a_gap() -> None:
    """Tests a replica of four, one of two and two of one on a node of eight."""
    huge = model("huge", 2400, kv_pool_bytes=400, size=4)
    case = problem(
        fleet(SMALL, WIDE, huge, clusters={"c": 8}),
        demand("d", "m", 8.0),
        demand("e", "wide", 4.0),
        demand("f", "huge", 4.0),
    )
    found = solved(case, 8)
    assert (found.status, found.accelerators_used) == (CapacityStatus.OPTIMAL, 8)
    assert places(found) == [("c-0", "huge"), ("c-4", "wide"), ("c-6", "m"), ("c-7", "m")]


def test_a_cluster_limit_counts_every_accelerator() -> None:
    where = fleet(WIDE, clusters={"c": 4}, per_cluster={"c": 3})
    found = solved(problem(where, demand("d", "wide", 8.0)), 4)
    assert found.accelerators_used == 2
    assert found.shortfall is not None
    assert found.shortfall.binding is Binding.CLUSTER_LIMIT


def test_a_pinned_replica_stays_on_its_accelerators() -> None:
    pinned = replace(WIDE, pinned_on=frozenset({"c-2"}))
    case = problem(fleet(pinned, SMALL, clusters={"c": 4}), demand("d", "wide", 1.0), demand("e", "m", 8.0))
    assert places(solved(case, 4)) == [("c-0", "m"), ("c-1", "m"), ("c-2", "wide")]


def test_a_node_with_too_few_accelerators_is_told() -> None:
    found = solved(problem(fleet(WIDE, clusters={"c": 1, "d": 1}), demand("d", "wide")), 2)
    assert found.shortfall is not None
    assert found.shortfall.binding is Binding.GROUP
    assert "2 accelerators at once" in found.shortfall.reason


def test_memory_is_that_of_each_accelerator() -> None:
    found = solved(problem(fleet(model("wide", 1900, kv_pool_bytes=200, size=2)), demand("d", "wide")), 2)
    assert found.shortfall is not None
    assert found.shortfall.binding is Binding.MEMORY
    assert "of each of 2 accelerators" in found.shortfall.reason


def test_sizes_that_do_not_divide_each_other_are_refused() -> None:
    odd = model("odd", size=3)
    with pytest.raises(InvalidInputError, match="divide"):
        solve(problem(fleet(WIDE, odd, clusters={"c": 6}), demand("d", "wide"), demand("e", "odd")), 6, 1.0)


def test_faults_in_groups_are_found() -> None:
    case = problem(fleet(WIDE, SMALL, clusters={"c": 3}), demand("d", "wide", 4.0), demand("e", "m", 1.0))
    found = solved(case, 3)
    wide = next(one for one in found.replicas if one.model == "wide")
    small = next(one for one in found.replicas if one.model == "m")
    moved = replace(found, replicas=(small, replace(wide, accelerator="c-1")))
    assert any("no group of 2 accelerators begins" in fault for fault in violations(case, moved))
    beside = replace(found, replicas=(wide, replace(small, accelerator="c-1")))
    assert any("c-1: 1200 bytes are taken" in fault for fault in violations(case, beside))
    assert any("the plan says 2" in fault for fault in violations(case, replace(found, accelerators_used=2)))
