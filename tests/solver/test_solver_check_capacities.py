"""The checker finds every plan that takes more than there is: memory, KV, places in a batch, slots, accelerators."""

from __future__ import annotations

import pytest
from broken_constraints import broken
from snapshot_builders import accelerator, assignment, initial, load, model, plan_of, replica, running, snapshot, stage

from maestro.fleet import GpuBudget
from maestro.plan import Assignment, Plan, Residency
from maestro.snapshot import Snapshot
from maestro_solver.check import Constraint, check


def on_one(
    elastic: bool = False, memory: int = 100, slots: int = 4, batch: int = 4, kv: int = 5, busy: bool = False
) -> tuple[Snapshot, Plan]:
    """Two stages (of ``kv`` each) at once on alpha (55 and a pool of 20), a running one beside them where busy."""
    pool = 0 if elastic else 20
    given = snapshot(
        [accelerator("gpu0", replica("alpha", pool=pool), memory=memory, slots=slots, elastic=elastic)],
        [stage("a", kv=kv), stage("b", kv=kv)],
        [running("now", "gpu0", "alpha", 1.0, kv=kv)] if busy else [],
        models=[model("alpha", batch=batch)],
    )
    at_once: list[Assignment] = [assignment("a", "gpu0", 0.0, kv=kv), assignment("b", "gpu0", 0.5, kv=kv)]
    residencies: list[Residency] = [initial("gpu0", pool=pool)]
    return given, plan_of(at_once, residencies)


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"elastic": True, "kv": 23}, Constraint.MEMORY),
        ({"elastic": True, "kv": 16, "busy": True}, Constraint.MEMORY),
        ({"kv": 11}, Constraint.POOL),
        ({"kv": 7, "busy": True}, Constraint.POOL),
        ({"batch": 1}, Constraint.BATCH),
        ({"batch": 2, "busy": True}, Constraint.BATCH),
        ({"slots": 1}, Constraint.SLOTS),
        ({"slots": 2, "busy": True}, Constraint.SLOTS),
    ],
)
def test_shared_capacities_hold_at_every_instant(changes: dict[str, int], constraint: Constraint) -> None:
    assert broken(*on_one(**changes)) == {constraint}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"elastic": True, "kv": 22},
        {"elastic": True, "kv": 15, "busy": True},
        {"kv": 10},
        {"batch": 3, "busy": True},
        {"slots": 3, "busy": True},
    ],
)
def test_capacities_may_be_filled_to_the_brim(changes: dict[str, int]) -> None:
    assert broken(*on_one(**changes)) == set()  # type: ignore[arg-type]


def test_what_the_snapshot_alone_exceeds_is_not_the_plans_fault() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"), memory=10, slots=0)], [], [running("r", "gpu0", "alpha", 3.0)]
    )
    assert check(given, plan_of([], [initial("gpu0")])) == ()


@pytest.mark.parametrize(
    ("budget", "constraints"),
    [
        (GpuBudget(2), set()),
        (GpuBudget(1), {Constraint.BUDGET}),
        (GpuBudget(2, {"west": 1}), set()),
        (GpuBudget(2, {"west": 0}), {Constraint.BUDGET}),
    ],
)
def test_accelerators_in_use_stay_within_the_budget(budget: GpuBudget, constraints: set[Constraint]) -> None:
    given = snapshot(
        [
            accelerator("gpu0", replica("alpha")),
            accelerator("gpu1", cluster="west"),
            accelerator("gpu2", replica("beta")),
        ],
        [stage("first"), stage("other", "beta")],
        budget=budget,
    )
    plan = plan_of(
        [assignment("first", "gpu0", 0.0), assignment("other", "gpu1", 10.0, "beta")],
        [initial("gpu0"), initial("gpu2", "beta"), load("gpu1", "beta", 0.0, 10.0)],
    )
    assert broken(given, plan) == constraints


def test_accelerators_already_in_use_may_stay_so_under_a_lowered_budget() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"))],
        [stage("first")],
        [running("now", "gpu0", "alpha", 1.0)],
        budget=GpuBudget(0),
    )
    assert check(given, plan_of([assignment("first", "gpu0", 1.0)], [initial("gpu0")])) == ()
