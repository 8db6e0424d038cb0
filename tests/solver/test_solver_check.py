"""The checker passes a valid plan, and names every constraint that is broken on purpose."""

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
    tool,
)

from maestro.plan import Deferral, Plan
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro_solver.check import Constraint, check

# One accelerator of 100 with alpha (50 + 5 + pool 20); beta takes its place after it has left.
GIVEN = snapshot(
    [accelerator("gpu0", replica("alpha")), accelerator("gpu1")],
    [stage("first"), stage("second", after=["first"]), stage("other", "beta")],
)
VALID = plan_of(
    [assignment("first", "gpu0", 0.0), assignment("second", "gpu0", 5.0), assignment("other", "gpu0", 20.0, "beta")],
    [initial("gpu0", end_s=10.0), load("gpu0", "beta", 10.0, 20.0)],
)


def with_assignment(position: int, **changes: object) -> Plan:
    """The valid plan with one assignment changed."""
    found = list(VALID.assignments)
    found[position] = replace(found[position], **changes)  # type: ignore[arg-type]
    return replace(VALID, assignments=tuple(found))


def with_residency(position: int, **changes: object) -> Plan:
    """The valid plan with one residency changed."""
    found = list(VALID.residencies)
    found[position] = replace(found[position], **changes)  # type: ignore[arg-type]
    return replace(VALID, residencies=tuple(found))


def test_a_valid_plan_with_a_swap_passes() -> None:
    assert check(GIVEN, VALID) == ()


@pytest.mark.parametrize(
    ("plan", "constraint"),
    [
        (replace(VALID, assignments=VALID.assignments[:2]), Constraint.EACH_STAGE_ONCE),
        (replace(VALID, assignments=(*VALID.assignments, VALID.assignments[0])), Constraint.EACH_STAGE_ONCE),
        (
            replace(VALID, deferred=(Deferral(StageKey("w", "other"), Reason.DEFERRED_BEYOND_HORIZON),)),
            Constraint.EACH_STAGE_ONCE,
        ),
        (with_assignment(2, stage=StageKey("w", "ghost")), Constraint.KNOWN_NAMES),
        (with_assignment(2, accelerator="gpu9"), Constraint.KNOWN_NAMES),
        (with_assignment(2, model="alpha"), Constraint.OPTION),
        (with_assignment(2, kv_bytes=4), Constraint.OPTION),
        (with_assignment(2, end_s=24.0), Constraint.DURATION),
        (with_assignment(2, start_s=61.0, end_s=66.0), Constraint.HORIZON),
        (with_assignment(0, start_s=-1.0, end_s=4.0), Constraint.HORIZON),
        (with_assignment(2, start_s=19.0, end_s=24.0), Constraint.INSIDE_RESIDENCY),
        (with_assignment(1, start_s=6.0, end_s=11.0), Constraint.INSIDE_RESIDENCY),
        (with_assignment(2, accelerator="gpu1"), Constraint.INSIDE_RESIDENCY),
        (with_assignment(1, start_s=4.0, end_s=9.0), Constraint.PRECEDENCE),
        (with_residency(0, initial=False), Constraint.INITIAL_RESIDENCY),
        (with_residency(0, ready_s=1.0), Constraint.INITIAL_RESIDENCY),
        (with_residency(0, kv_pool_bytes=10), Constraint.INITIAL_RESIDENCY),
        (with_residency(1, initial=True), Constraint.INITIAL_RESIDENCY),
        (with_residency(1, load_start_s=11.0), Constraint.LOAD),
        (with_residency(1, kv_pool_bytes=10), Constraint.LOAD),
        (with_residency(1, end_s=15.0), Constraint.LOAD),
        (with_residency(0, end_s=12.0), Constraint.MEMORY),
        (with_residency(0, end_s=None), Constraint.MEMORY),
        (with_residency(0, end_s=4.0), Constraint.INSIDE_RESIDENCY),
    ],
)
def test_breaking_one_constraint_names_it(plan: Plan, constraint: Constraint) -> None:
    assert constraint in broken(GIVEN, plan)


def test_every_violation_is_a_sentence_that_names_the_culprit() -> None:
    (violation,) = check(GIVEN, with_assignment(1, start_s=4.0, end_s=9.0))
    assert str(violation).startswith("precedence: w/second starts at 4.0 s, before w/first ends at 5.0 s")


def test_a_load_of_a_pair_without_load_time_is_refused() -> None:
    given = replace(GIVEN, load_s={("alpha", "gpu0"): 10.0})
    assert broken(given, VALID) == {Constraint.LOAD}


def test_a_node_reads_the_weights_of_one_load_at_a_time_while_engines_start_beside_it() -> None:
    """Tests that a load of 10 s, of which the engine's start is 1 s, holds the link for 9 s."""
    given = snapshot(
        [accelerator("gpu0", node="n"), accelerator("gpu1", node="n")], [stage("first"), stage("other", "beta")]
    )
    apart = plan_of(
        [assignment("first", "gpu0", 10.0), assignment("other", "gpu1", 20.0, "beta")],
        [load("gpu0", "alpha", 0.0, 10.0), load("gpu1", "beta", 9.0, 19.0)],
    )
    overlapping = plan_of(
        [assignment("first", "gpu0", 10.0), assignment("other", "gpu1", 20.0, "beta")],
        [load("gpu0", "alpha", 0.0, 10.0), load("gpu1", "beta", 8.9, 18.9)],
    )
    assert check(given, apart) == ()
    assert broken(given, overlapping) == {Constraint.LINK}


def test_a_load_that_runs_now_keeps_the_link_busy() -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 4.0), node="n"), accelerator("gpu1", node="n")],
        [stage("other", "beta")],
    )
    residencies = [initial("gpu0", ready_s=4.0), load("gpu1", "beta", 2.9, 12.9)]
    plan = plan_of([assignment("other", "gpu1", 12.9, "beta")], residencies)
    assert broken(given, plan) == {Constraint.LINK}


def test_a_stage_waits_for_a_loading_replica_to_be_ready() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 4.0))], [stage("first")])
    residencies = [initial("gpu0", ready_s=4.0)]
    assert check(given, plan_of([assignment("first", "gpu0", 4.0)], residencies)) == ()
    assert broken(given, plan_of([assignment("first", "gpu0", 3.0)], residencies)) == {Constraint.INSIDE_RESIDENCY}


def test_a_load_under_way_is_not_given_up() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 4.0))], [])
    assert broken(given, plan_of([], [initial("gpu0", ready_s=4.0, end_s=2.0)])) == {Constraint.LOAD}


def test_a_model_has_one_replica_at_a_time_on_an_accelerator() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"), memory=500)], [stage("first")])
    residencies = [initial("gpu0"), load("gpu0", "alpha", 0.0, 10.0)]
    assert broken(given, plan_of([assignment("first", "gpu0", 0.0)], residencies)) == {Constraint.ONE_REPLICA}


def test_a_draining_replica_takes_nothing_new() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha", ReplicaPhase.DRAINING))], [stage("first")])
    assert broken(given, plan_of([assignment("first", "gpu0", 0.0)], [initial("gpu0")])) == {Constraint.DRAINING}


def test_a_pinned_model_stays() -> None:
    models = [model("alpha", pinned_on=["gpu0"]), model("beta")]
    given = snapshot([accelerator("gpu0", replica("alpha"))], [stage("first")], models=models)
    first = assignment("first", "gpu0", 0.0)
    assert check(given, plan_of([first], [initial("gpu0")])) == ()
    assert broken(given, plan_of([first], [initial("gpu0", end_s=9.0)])) == {Constraint.PINNED}


def test_no_replica_leaves_under_a_running_stage() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [], [running("now", "gpu0", "alpha", 8.0)])
    assert check(given, plan_of([], [initial("gpu0", end_s=8.0)])) == ()
    assert broken(given, plan_of([], [initial("gpu0", end_s=7.0)])) == {Constraint.BUSY_REPLICA}


@pytest.mark.parametrize(("start_s", "constraints"), [(8.0, set()), (7.5, {Constraint.PRECEDENCE})])
def test_a_stage_waits_for_a_running_predecessor(start_s: float, constraints: set[Constraint]) -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"))],
        [stage("first", after=["now"])],
        [running("now", "gpu0", "alpha", 8.0)],
    )
    assert broken(given, plan_of([assignment("first", "gpu0", start_s)], [initial("gpu0")])) == constraints


@pytest.mark.parametrize(("start_s", "constraints"), [(8.0, set()), (7.5, {Constraint.PRECEDENCE})])
def test_a_stage_waits_for_the_tool_stages_between(start_s: float, constraints: set[Constraint]) -> None:
    waiting = [stage("first"), tool("search", 2.0, ["first"]), tool("parse", 1.0, ["search"])]
    given = snapshot([accelerator("gpu0", replica("alpha"))], [*waiting, stage("last", after=["parse"])])
    plan = plan_of([assignment("first", "gpu0", 0.0), assignment("last", "gpu0", start_s)], [initial("gpu0")])
    assert broken(given, plan) == constraints


def test_a_tool_stage_is_never_assigned() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [tool("search", 5.0)])
    found = broken(given, plan_of([assignment("search", "gpu0", 0.0)], [initial("gpu0")]))
    assert Constraint.EACH_STAGE_ONCE in found


def test_what_follows_a_deferred_stage_is_not_planned() -> None:
    waiting = [stage("first"), tool("search", 2.0, ["first"]), stage("last", after=["search"])]
    given = snapshot([accelerator("gpu0", replica("alpha"))], waiting)
    deferred = [Deferral(StageKey("w", "first"), Reason.DEFERRED_BEYOND_HORIZON)]
    plan = plan_of([assignment("last", "gpu0", 50.0)], [initial("gpu0")], deferred)
    assert broken(given, plan) == {Constraint.DEFERRED_PREDECESSOR}


@pytest.mark.parametrize(("start_s", "constraints"), [(7.0, set()), (6.0, {Constraint.PRECEDENCE})])
def test_output_takes_time_to_cross_between_clusters(start_s: float, constraints: set[Constraint]) -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha")), accelerator("gpu1", replica("alpha"), cluster="west")],
        [stage("first"), stage("second", after=["first"])],
        network_delay_s=2.0,
    )
    plan = plan_of(
        [assignment("first", "gpu0", 0.0), assignment("second", "gpu1", start_s)], [initial("gpu0"), initial("gpu1")]
    )
    assert broken(given, plan) == constraints


@pytest.mark.parametrize(("start_s", "constraints"), [(2.0, set()), (1.0, {Constraint.NOT_BEFORE})])
def test_output_of_ended_stages_crosses_too(start_s: float, constraints: set[Constraint]) -> None:
    given = snapshot(
        [accelerator("gpu0", replica("alpha"))], [stage("first", inputs_from=["west", "east"])], network_delay_s=2.0
    )
    assert broken(given, plan_of([assignment("first", "gpu0", start_s)], [initial("gpu0")])) == constraints


def test_a_retry_is_held_back() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [stage("first", not_before_s=3.0)])
    assert check(given, plan_of([assignment("first", "gpu0", 3.0)], [initial("gpu0")])) == ()
    assert broken(given, plan_of([assignment("first", "gpu0", 2.0)], [initial("gpu0")])) == {Constraint.NOT_BEFORE}
