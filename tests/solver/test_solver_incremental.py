"""Placing one stage at a time between plans."""

from __future__ import annotations

import pytest
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

from maestro.fleet import GpuBudget
from maestro.plan import Plan
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, ReplicaPlace, Snapshot, WaitingStage
from maestro_solver.check import check
from maestro_solver.heuristics.incremental import Placement, SnapshotView, place
from maestro_solver.planner.generate import FAMILIES, generate


def placed(view: SnapshotView, wanted: WaitingStage) -> Placement:
    found = view.place_and_keep(wanted)
    assert isinstance(found, Placement), found
    return found


def test_a_stage_goes_to_the_replica_that_is_there() -> None:
    given = snapshot([accelerator("gpu0"), accelerator("gpu1", replica("alpha"))], [])
    found = placed(SnapshotView(given), stage("a"))
    assert (found.accelerator, found.start_s, found.needs_load) == ("gpu1", 0.0, False)


def test_a_model_that_is_nowhere_is_loaded_and_what_is_idle_makes_way() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [])
    found = placed(SnapshotView(given), stage("b", "beta"))
    assert (found.needs_load, found.load_start_s, found.ready_s, found.start_s) == (True, 0.0, 10.0, 10.0)
    assert found.evict == (ReplicaPlace("alpha", "gpu0"),)


def test_a_busy_replica_leaves_only_when_its_stage_has_ended() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [], [running("now", "gpu0", "alpha", 7.0)])
    assert placed(SnapshotView(given), stage("b", "beta")).load_start_s == 7.0


def test_pending_assignments_of_the_plan_in_force_keep_their_places() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"), slots=1)], [])
    pending = [assignment("planned", "gpu0", 0.0)]
    assert placed(SnapshotView(given, pending, [initial("gpu0")]), stage("a")).start_s == 5.0


def test_a_replica_that_the_plan_drains_takes_only_what_ends_before() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [])
    residencies = [initial("gpu0", end_s=6.0), load("gpu0", "beta", 6.0, 16.0)]
    view = SnapshotView(given, [assignment("planned", "gpu0", 16.0, "beta")], residencies)
    assert placed(view, stage("short", duration_s=6.0)).start_s == 0.0
    long = placed(view, stage("long", duration_s=7.0))
    assert (long.needs_load, long.load_start_s) == (True, 21.0)


def test_a_planned_load_of_a_model_that_is_loading_already_is_not_begun_twice() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha", ReplicaPhase.LOADING, 3.0))], [])
    view = SnapshotView(given, [], [load("gpu0", "alpha", 0.0, 3.0)])
    assert placed(view, stage("a")).start_s == 3.0


def test_what_no_longer_fits_the_snapshot_is_left_out() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [])
    pending = [assignment("a", "gone", 0.0), assignment("b", "gpu0", 0.0, "gone"), assignment("c", "gpu0", 0.0, "beta")]
    view = SnapshotView(given, pending, [initial("gone"), initial("gpu0", "beta"), load("gpu0", "gone", 0.0, 1.0)])
    assert placed(view, stage("d")).start_s == 0.0


def test_stages_that_follow_start_after_those_placed_before() -> None:
    given = snapshot([accelerator("gpu0", replica("alpha"))], [])
    view = SnapshotView(given)
    placed(view, stage("a"))
    assert view.keep_external(tool("search", 2.0, ["a"])) is None
    assert placed(view, stage("b", after=["search"])).start_s == 7.0


@pytest.mark.parametrize(
    ("given", "wanted", "reason"),
    [
        (snapshot([], []), stage("a"), Reason.NO_NODE),
        (snapshot([accelerator("gpu0", replica("alpha"))], []), stage("a", kv=21), Reason.NO_ACCELERATOR_FITS),
        (snapshot([accelerator("gpu0", replica("alpha"))], []), stage("a", "unknown"), Reason.NO_ACCELERATOR_FITS),
        (
            snapshot([accelerator("gpu0", replica("alpha"))], [], budget=GpuBudget(0)),
            stage("a"),
            Reason.NO_ACCELERATOR_FITS,
        ),
        (
            snapshot(
                [accelerator("gpu0", replica("alpha"))], [], models=[model("alpha", pinned_on=["gpu0"]), model("beta")]
            ),
            stage("b", "beta"),
            Reason.NO_ACCELERATOR_FITS,
        ),
        (snapshot([accelerator("gpu0")], []), stage("a", after=["b"]), Reason.WAITING_FOR_PREDECESSORS),
        (snapshot([accelerator("gpu0")], []), tool("t", 1.0), Reason.WAITING_FOR_TOOL),
    ],
)
def test_a_stage_without_a_place_gets_the_reason(given: Snapshot, wanted: WaitingStage, reason: Reason) -> None:
    assert place(SnapshotView(given), wanted) is reason


def test_looking_changes_nothing() -> None:
    view = SnapshotView(snapshot([accelerator("gpu0", replica("alpha"), slots=1)], []))
    assert place(view, stage("a")) == place(view, stage("a"))


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_placed_one_by_one_without_loads_make_a_valid_plan(family: str) -> None:
    given = generate(family, stages=30, accelerators=3, seed=6)
    view = SnapshotView(given)
    found = []
    for wanted in given.waiting:
        if wanted.external_s is not None:
            view.keep_external(wanted)
            continue
        result = view.place(wanted)
        if isinstance(result, Placement) and not result.needs_load:
            found.append(placed(view, wanted).as_assignment())
    kept = [
        initial(each.name, held.model, pool=held.kv_pool_bytes) for each in given.accelerators for held in each.replicas
    ]
    plan: Plan = plan_of(found, kept, horizon_s=1e4)
    broken = {violation.constraint for violation in check(given, plan)}
    assert broken <= {"each_stage_once"}
    assert found
