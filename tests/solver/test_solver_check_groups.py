"""The checker sees all accelerators of a tensor-parallel replica: memory, slots, budget, and where groups begin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from broken_constraints import broken
from snapshot_builders import (
    accelerator,
    assignment,
    initial,
    load,
    model,
    plan_of,
    replica,
    running,
    snapshot,
    stage,
)

from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.snapshot import AcceleratorState, ReplicaPhase, Snapshot
from maestro_solver.check import Constraint, check

MODELS = (model("alpha", weights=30), model("wide", weights=100, pool=40, batch=8, size=2))
"""Small alpha (30 + 5 + pool 20), and wide (100 + 5, pool 40), which takes 53 and 20 of each of two accelerators."""


def fleet(memory: int = 130, slots: int = 4, elastic: bool = False) -> list[AcceleratorState]:
    """A node of two accelerators, the second with alpha on it, and a node of one."""
    pool = 0 if elastic else 20
    return [
        accelerator("gpu0", node="n", memory=memory, slots=slots, elastic=elastic),
        accelerator("gpu1", replica("alpha", pool=pool), node="n", memory=memory, slots=slots, elastic=elastic),
        accelerator("gpu2", node="m", memory=memory, slots=slots, elastic=elastic),
    ]


def beside(elastic: bool = False, kv: int = 5, **fleet_changes: int) -> tuple[Snapshot, Plan]:
    """Wide is loaded on gpu0 and gpu1 and runs a stage while alpha runs one on gpu1."""
    given = snapshot(
        fleet(elastic=elastic, **fleet_changes), [stage("a", kv=5), stage("b", "wide", kv=kv)], models=MODELS
    )
    plan = plan_of(
        [assignment("a", "gpu1", 12.0), assignment("b", "gpu0", 10.0, "wide", kv=kv)],
        [initial("gpu1", pool=0 if elastic else 20), load("gpu0", "wide", 0.0, 10.0, pool=0 if elastic else 40)],
    )
    return given, plan


def test_a_replica_of_several_accelerators_beside_a_small_one_passes() -> None:
    assert check(*beside()) == ()
    assert check(*beside(elastic=True)) == ()


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"memory": 127}, Constraint.MEMORY),  # alpha's 55 and wide's 53 + 20 on the second accelerator
        ({"elastic": True, "memory": 95}, Constraint.MEMORY),  # 35 + 5, 53 + 3
        ({"elastic": True, "kv": 75}, Constraint.MEMORY),  # 35 + 5, 53 + 38
        ({"kv": 41}, Constraint.POOL),
        ({"slots": 1}, Constraint.SLOTS),
    ],
)
def test_every_member_gives_its_share(changes: dict[str, int], constraint: Constraint) -> None:
    given, plan = beside(**changes)
    assert broken(given, plan) == {constraint}


@pytest.mark.parametrize(
    "changes",
    [{"memory": 128}, {"elastic": True, "memory": 96}, {"elastic": True, "kv": 74}, {"kv": 40}, {"slots": 2}],
)
def test_shares_may_fill_every_member_to_the_brim(changes: dict[str, int]) -> None:
    assert check(*beside(**changes)) == ()


def test_a_running_stage_takes_a_slot_of_every_member() -> None:
    """Tests that alpha finds no slot on gpu1 while wide runs a stage that is named by gpu0."""
    given = snapshot(
        [
            accelerator("gpu0", replica("wide", pool=40), node="n", memory=130, slots=1),
            accelerator("gpu1", replica("alpha"), node="n", memory=130, slots=1),
        ],
        [stage("a")],
        [running("now", "gpu0", "wide", 3.0)],
        models=MODELS,
    )
    residencies = [initial("gpu0", "wide", pool=40), initial("gpu1")]
    assert broken(given, plan_of([assignment("a", "gpu1", 2.0)], residencies)) == {Constraint.SLOTS}
    assert check(given, plan_of([assignment("a", "gpu1", 3.0)], residencies)) == ()


@pytest.mark.parametrize(("total", "constraints"), [(2, set()), (1, {Constraint.BUDGET})])
def test_every_member_counts_for_the_budget(total: int, constraints: set[Constraint]) -> None:
    given, plan = beside()
    assert broken(replace(given, budget=GpuBudget(total)), plan) == constraints
    assert broken(replace(given, budget=GpuBudget(3, {"east": total})), plan) == constraints


def test_members_that_are_in_use_already_stay_so_under_a_lowered_budget() -> None:
    """Tests that the load under way on gpu0 lets both its accelerators be used."""
    loading = replica("wide", ReplicaPhase.LOADING, 4.0, pool=40)
    given = snapshot(
        [accelerator("gpu0", loading, node="n"), accelerator("gpu1", node="n")],
        [stage("b", "wide")],
        models=MODELS,
        budget=GpuBudget(0),
    )
    plan = plan_of([assignment("b", "gpu0", 4.0, "wide")], [initial("gpu0", "wide", ready_s=4.0, pool=40)])
    assert check(given, plan) == ()


@pytest.mark.parametrize("on", ["gpu1", "gpu2"])
def test_a_load_where_no_group_begins_is_caught(on: str) -> None:
    """Tests the second accelerator of a group, and one that is in none."""
    given, plan = beside()
    given = replace(given, load_s={**given.load_s, ("wide", on): 10.0})
    plan = replace(
        plan,
        assignments=(plan.assignments[0], replace(plan.assignments[1], accelerator=on)),
        residencies=(plan.residencies[0], replace(plan.residencies[1], accelerator=on)),
    )
    assert broken(given, plan) >= {Constraint.GROUP}


def test_a_group_that_is_not_all_there_is_caught() -> None:
    given, plan = beside()
    lost = replace(given, groups={("wide", "gpu0"): ("gpu0", "gpu9")})
    assert broken(lost, plan) == {Constraint.GROUP}


def test_a_load_of_several_accelerators_takes_the_link_once() -> None:
    given = snapshot(
        [accelerator("gpu0", node="n", memory=130), accelerator("gpu1", node="n", memory=130)],
        [stage("a"), stage("b", "wide")],
        models=MODELS,
    )
    stages = [assignment("b", "gpu0", 10.0, "wide"), assignment("a", "gpu1", 19.0)]
    wide = load("gpu0", "wide", 0.0, 10.0, pool=40)
    assert check(given, plan_of(stages, [wide, load("gpu1", "alpha", 9.0, 19.0)])) == ()
    assert broken(given, plan_of(stages, [wide, load("gpu1", "alpha", 8.0, 18.0)])) == {Constraint.LINK}
