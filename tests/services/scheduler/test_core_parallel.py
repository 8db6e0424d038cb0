"""Tensor-parallel replicas in the core: memory and slots on every accelerator, one life for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver
from parallel_fleet import NODE, POOL, accelerator, driver, fleet, loads, shown, single, unloads
from service_world import GIB

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro.status import StageState
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.backfill import Candidate, Claim, may_start, resident_bytes
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.core.rooms import rooms
from maestro_services.scheduler.core.suitability import largest_reservations


def test_a_load_names_every_accelerator_that_it_takes() -> None:
    found = driver()
    found.submit(single("wide"))
    assert loads(found) == [("wide", "g0", ("g1",))]
    held = [resident_bytes(accelerator(found, name), found.config.fleet.models) for name in ("g0", "g1", "g2")]
    assert held == [3 * GIB + POOL, 3 * GIB + POOL, 0]


@pytest.mark.parametrize("taken", [("g0", "g2"), ("g1", "g3"), ("g0", "g1", "g2", "g3")])
def test_a_load_waits_until_all_its_accelerators_have_room(taken: tuple[str, ...]) -> None:
    found = driver()
    found.report(NODE, *(shown(name, "writer") for name in taken))
    found.submit(single("wide"))
    leaving = unloads(found)
    assert {unload.model for unload in leaving} == {"writer"}
    assert {unload.accelerator for unload in leaving} in ({"g0", "g1"} & set(taken), {"g2", "g3"} & set(taken))
    for unload in leaving:
        assert loads(found) == []
        found.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
    ((_, first, peers),) = loads(found)
    assert {unload.accelerator for unload in leaving} <= {first, *peers}


def test_a_replica_leaves_all_its_accelerators_for_a_model_that_needs_one() -> None:
    found = driver()
    found.report(NODE, shown("g0", "wide"), shown("g2", "wide"))
    found.submit(single("writer"))
    (unload,) = unloads(found)
    assert (unload.model, unload.accelerator) in {("wide", "g0"), ("wide", "g2")}
    found.post(on.ReplicaUnloaded(unload.accelerator, "wide", 1))
    ((model, place, peers),) = loads(found)
    assert (model, peers) == ("writer", ())
    assert place in {unload.accelerator, f"g{int(unload.accelerator[1:]) + 1}"}


def test_a_busy_replica_does_not_leave_for_what_wants_one_of_its_other_accelerators() -> None:
    found = driver()
    found.report(NODE, shown("g0", "wide"), shown("g2", "writer"), shown("g3", "writer"))
    found.submit(single("wide"), "busy")
    assert [attempt.accelerator for attempt in found.attempts()] == ["g0"]
    found.submit(single("wide"), "more")
    found.pass_time(5.0)
    assert [unload for unload in unloads(found) if unload.model == "wide"] == []


def test_a_stage_takes_a_slot_of_every_accelerator_and_gives_all_of_them_back() -> None:
    found = driver(fleet(8))
    found.report(NODE, shown("g0", "wide"), shown("g1", "writer"))
    found.submit(single("wide"), "w0")
    (attempt,) = found.attempts()
    for index in range(4):
        found.submit(single("writer"), f"v{index}")
    assert len(found.attempts()) == 3, "the slots of g1 are four"
    assert [accelerator(found, name).stages_held for name in ("g0", "g1", "g2")] == [
        {"wide": 1},
        {"wide": 1, "writer": 3},
        {},
    ]
    found.finish(attempt)
    assert len(found.attempts()) == 1
    assert accelerator(found, "g0").stages_held == {}


def test_elastic_memory_is_reserved_by_shares_and_given_back() -> None:
    found = driver(fleet(8, elastic=True))
    found.report(NODE, replace(shown("g0", "wide"), kv_pool_bytes=0))
    found.submit(single("wide"))
    (attempt,) = found.attempts()
    share_bytes = -(-attempt.kv_bytes // 2)
    assert [accelerator(found, name).share_held_bytes for name in ("g0", "g1", "g2")] == [share_bytes, share_bytes, 0]
    found.post(on.CancelRequested("w1"))
    assert accelerator(found, "g1").share_held_bytes == share_bytes, "it holds its place until it has stopped"
    found.post(on.AttemptStopped(attempt.attempt_id, 1))
    assert accelerator(found, "g1").share_held_bytes == 0


def test_what_is_ordered_earlier_on_any_of_the_accelerators_is_not_delayed() -> None:
    found = driver(fleet(8))
    found.report(NODE, shown("g0", "wide"))
    models, candidate = found.config.fleet.models, Candidate("wide", 1, latest_end_s=6.0)
    first = accelerator(found, "g0")
    ahead = [Claim("writer", start_s=5.0, kv_bytes=1)] * 4
    assert may_start(first, models, candidate, {"g1": ahead}, None) is Reason.WAITING_FOR_EARLIER_STAGE
    assert may_start(first, models, candidate, {"g1": ahead[:3]}, None) is None
    assert may_start(first, models, replace(candidate, latest_end_s=4.0), {"g1": ahead}, None) is None


def test_the_snapshot_names_the_groups_and_lists_a_replica_on_the_first_of_its_own() -> None:
    found = driver()
    found.report(NODE, shown("g2", "wide"))
    snapshot = found.core.snapshot(found.now)
    assert snapshot.groups == {("wide", "g0"): ("g0", "g1"), ("wide", "g2"): ("g2", "g3")}
    assert [[r.model for r in found.replicas] for found in snapshot.accelerators] == [[], [], ["wide"], []]
    assert {place for model, place in snapshot.load_s if model == "wide"} == {"g0", "g2"}
    assert {place for model, place in snapshot.load_s if model == "writer"} == {"g0", "g1", "g2", "g3"}
    found.post(on.NodeDrainRequested(NODE, undrain=False))
    assert found.core.snapshot(found.now).groups == {}


def test_the_largest_reservation_is_what_all_accelerators_have_a_share_of() -> None:
    elastic = fleet(8, elastic=True)
    free_bytes = 2 * (8 * GIB - 3 * GIB)
    assert largest_reservations(elastic) == {"writer": 5 * GIB, "wide": free_bytes}
    assert rooms(driver(elastic).core._state, loads=True)["wide", "sim"] == free_bytes
    assert largest_reservations(fleet()) == {"writer": POOL, "wide": 2 * POOL}
    assert largest_reservations(fleet(3)) == {}


def test_a_replica_over_other_accelerators_than_the_scenarios_is_not_wanted() -> None:
    """Tests replicas that an earlier scheduler loaded with another scenario."""
    found = driver()
    strangers = (replace(shown("g0", "wide"), peers=()), replace(shown("g2", "writer"), peers=("g3",)))
    found.report(NODE, *strangers)
    assert [(unload.model, unload.accelerator) for unload in unloads(found)] == [("wide", "g0"), ("writer", "g2")]


def test_a_node_whose_engine_cannot_is_sent_no_such_load() -> None:
    """Tests an agent of an earlier version, which would take the model for one of a single accelerator."""
    found = driver()
    models = frozenset(found.config.fleet.models)
    found.post(on.NodeRegistered(NODE, "old", "a:1", models, tensor_parallel=False))
    found.report(NODE, instance="old")
    assert {model for model, _ in found.core.snapshot(found.now).load_s} == {"writer"}
    found.submit(single("wide"))
    assert loads(found) == []


def test_a_load_that_failed_is_tried_again_after_its_pause() -> None:
    found = driver()
    found.submit(single("wide"))
    (order,) = found.take(do.LoadReplica)
    assert isinstance(order, do.LoadReplica)
    failed = shown("g0", "wide", order.generation, ReplicaPhase.FAILED)
    found.report(NODE, failed)
    assert resident_bytes(accelerator(found, "g1"), found.config.fleet.models) == 0
    for _ in range(10):
        found.report(NODE, failed)
        found.pass_time(1.0)
    assert [model for model, _, _ in loads(found)] == ["wide"]


def test_a_lost_node_takes_its_replica_from_every_accelerator() -> None:
    found = driver()
    found.report(NODE, shown("g0", "wide"))
    found.submit(single("wide"))
    assert len(found.attempts()) == 1
    found.post(on.NodeUnreachable(NODE, f"{NODE}-1"))
    for name in ("g0", "g1"):
        assert list(accelerator(found, name).residents()) == []
        assert accelerator(found, name).stages_held == {}
    assert found.stage("only").reason is Reason.NODE_LOST


def test_a_status_tells_every_accelerator_that_a_stage_runs_on() -> None:
    found = driver()
    found.report(NODE, shown("g2", "wide"))
    found.submit(single("wide"))
    status = found.stage("only")
    assert (status.accelerator, status.peers) == ("g2", ("g3",))


def test_a_sleeping_replica_keeps_its_rest_of_every_accelerator_until_one_is_wanted() -> None:
    sleepy = fleet(sleeping=True)
    wide = replace(sleepy.models["wide"], sleeping_bytes=2 * GIB)
    found = driver(replace(sleepy, models={**sleepy.models, "wide": wide}))
    found.report(NODE, *(shown(name, "wide", phase=ReplicaPhase.SLEEPING) for name in ("g0", "g2")))
    assert [len(list(accelerator(found, name).sleepers())) for name in ("g0", "g1")] == [1, 1]
    found.submit(single("writer"))
    (unload,) = unloads(found)
    assert unload.model == "wide"
    found.post(on.ReplicaUnloaded(unload.accelerator, "wide", 1))
    ((_, place, _),) = loads(found)
    assert place in {unload.accelerator, f"g{int(unload.accelerator[1:]) + 1}"}


def restarted(found: Driver) -> Driver:
    """The next scheduler, with what the store kept of the first one's workflow."""
    following = Driver(found.config, now=found.now, epoch=2)
    status = found.stage("only")
    kept = RestoredWorkflow("w1", single("wide"), "standard", found.now, found.now + 60.0, {"only": status})
    following.core.restore([kept], found.now)
    return following


def test_an_attempt_is_followed_on_all_its_accelerators_by_the_next_scheduler() -> None:
    found = driver(fleet(8))
    found.report(NODE, shown("g0", "wide"))
    found.submit(single("wide"))
    (attempt,) = found.attempts()
    following = restarted(found)
    assert accelerator(following, "g1").stages_held == {"wide": 1}
    following.post(on.NodeRegistered(NODE, "n-1", "a:1", frozenset(following.config.fleet.models)))
    report = on.AttemptReport(attempt.attempt_id, running=True)
    following.report(NODE, shown("g0", "wide"), attempts=(report,), instance="n-1")
    assert [effect.attempt_id for effect in following.take(do.FollowAttempt)] == [attempt.attempt_id]  # type: ignore[union-attr]
    following.finish(attempt)
    assert following.stage("only").state is StageState.SUCCEEDED
    assert accelerator(following, "g1").stages_held == {}
