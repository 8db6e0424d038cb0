"""Carrying plans out: loads and evictions in order, backfill that delays nothing, a world that has moved on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config, ready
from service_world import GIB, call, diamond, fleet, node

from maestro.fleet import ClusterSpec, Fleet, GpuBudget, NetworkSpec
from maestro.plan import Assignment, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.status import StageState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core import planning
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.backfill import Candidate, Claim, may_start
from maestro_services.scheduler.core.replica_records import ReplicaRecord

POOL = 256 << 20


def one_node(memory_gib: int = 4) -> Driver:
    """A fleet of a single accelerator."""
    only = Fleet(
        (ClusterSpec("left", (node("left-node", memory_gib * GIB),)),),
        fleet().models,
        NetworkSpec(),
        GpuBudget(1),
    )
    driver = Driver(core_config(fleet=only))
    driver.bring_up("left-node")
    return driver


def single(model: str, **changes: object) -> WorkflowSpec:
    """A workflow of one stage."""
    return WorkflowSpec("essays", (replace(call("only", models=(model,)), **changes),))  # type: ignore[arg-type]


def resident(driver: Driver, model: str) -> None:
    """Brings a model up by running a workflow on it to its end."""
    driver.submit(single(model), f"warm-{model}")
    driver.run_to_the_end()


def record() -> AcceleratorRecord:
    """An accelerator with a ready replica of the writer."""
    accelerator = AcceleratorRecord(node("left-node").accelerators[0], "left-node", "left")
    accelerator.replicas["writer"] = ReplicaRecord("writer", 1, ReplicaPhase.READY, POOL, 0.0)
    return accelerator


def test_a_model_is_evicted_for_another_only_when_it_is_idle() -> None:
    """Tests invariant: no busy replica is evicted."""
    driver = one_node()
    resident(driver, "writer")
    driver.submit(single("writer"), "w1")
    driver.submit(single("critic"), "w2")
    driver.plan()
    (busy,) = driver.attempts()
    assert busy.model == "writer"
    assert driver.take(do.UnloadReplica) == []
    driver.finish(busy)
    driver.plan()
    assert [e.model for e in driver.take(do.UnloadReplica) if isinstance(e, do.UnloadReplica)] == ["writer"]
    assert driver.take(do.LoadReplica) == []


def test_the_load_is_ordered_once_the_evicted_replica_is_gone() -> None:
    driver = one_node()
    resident(driver, "writer")
    driver.submit(single("critic"), "w2")
    driver.plan()
    (unload,) = driver.take(do.UnloadReplica)
    assert isinstance(unload, do.UnloadReplica)
    driver.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
    assert [e.model for e in driver.take(do.LoadReplica) if isinstance(e, do.LoadReplica)] == ["critic"]


def test_an_arrival_starts_in_the_same_event_where_its_model_is_resident() -> None:
    driver = one_node()
    resident(driver, "writer")
    driver.submit(single("writer"), "w1")
    assert [a.key.workflow for a in driver.attempts()] == ["w1"]


def test_a_successor_starts_in_the_event_that_ended_its_predecessor() -> None:
    driver = one_node()
    resident(driver, "writer")
    driver.submit(WorkflowSpec("essays", (call("a"), call("b", "a"))), "w1")
    (first,) = driver.attempts()
    driver.finish(first)
    assert [a.key.stage for a in driver.attempts()] == ["b"]


def test_no_more_stages_run_at_once_than_the_accelerator_has_slots() -> None:
    driver = one_node()
    resident(driver, "writer")
    for number in range(10):
        driver.submit(single("writer"), f"w{number}")
    assert len(driver.attempts()) == 4


def test_generations_grow_with_every_load() -> None:
    driver = one_node()
    seen = []
    for model in ("writer", "critic", "writer"):
        driver.submit(single(model), f"{model}-{len(seen)}")
        driver.plan()
        for unload in driver.take(do.UnloadReplica):
            assert isinstance(unload, do.UnloadReplica)
            driver.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
        (load,) = driver.take(do.LoadReplica)
        assert isinstance(load, do.LoadReplica)
        seen.append(load.generation)
        driver.report(load.node, ready(load))
        driver.run_to_the_end()
    assert seen == sorted(set(seen))


def test_an_early_start_that_could_delay_an_earlier_stage_waits() -> None:
    claims = {record().spec.name: [Claim("writer", start_s=5.0, kv_bytes=POOL)]}
    models = fleet().models
    long = Candidate("writer", kv_bytes=POOL // 2, latest_end_s=6.0)
    assert may_start(record(), models, long, claims, None) is Reason.WAITING_FOR_EARLIER_STAGE
    short = Candidate("writer", kv_bytes=POOL // 2, latest_end_s=4.0)
    assert may_start(record(), models, short, claims, None) is None


def test_an_early_start_that_could_delay_a_drain_waits() -> None:
    models = fleet().models
    candidate = Candidate("writer", kv_bytes=1, latest_end_s=6.0)
    assert may_start(record(), models, candidate, {}, 5.0) is Reason.WAITING_FOR_DRAIN
    assert may_start(record(), models, candidate, {}, 6.0) is None


def test_a_stage_waits_for_room_in_the_pool_of_its_replica() -> None:
    models = fleet().models
    assert may_start(record(), models, Candidate("writer", POOL + 1, 1.0), {}, None) is Reason.WAITING_FOR_KV


def test_a_stage_waits_for_its_model_to_be_loaded() -> None:
    models = fleet().models
    assert may_start(record(), models, Candidate("critic", 1, 1.0), {}, None) is Reason.WAITING_FOR_LOAD


def test_a_plan_for_an_older_snapshot_keeps_only_what_has_not_started() -> None:
    driver = one_node()
    resident(driver, "writer")
    driver.submit(diamond(), "w1")
    driver.post(on.PlanDue())
    (request,) = driver.take(do.RequestPlan)
    assert isinstance(request, do.RequestPlan)
    (first,) = driver.attempts()
    late = Plan(
        request.snapshot.taken_at_s,
        30.0,
        (Assignment(StageKey("w1", "first"), "left-node-gpu", "writer", 0.0, 0.1, first.kv_bytes),),
        (Residency("left-node-gpu", "writer", 0.0, 0.0, None, initial=True, kv_pool_bytes=POOL),),
        (),
        Provenance(request.snapshot.version, PlanSource.CP_SAT, SolveStatus.FEASIBLE, 0.0, {}),
    )
    driver.post(on.PlanMade(late))
    assert driver.attempts() == []
    assert driver.core.plan is not None
    assert driver.core.plan.assignments == ()


def test_a_plan_that_the_checker_rejects_is_not_put_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = one_node()
    resident(driver, "writer")
    in_force = driver.core.plan
    driver.submit(single("writer"), "w1")
    driver.attempts()
    driver.submit(single("critic"), "w2")
    monkeypatch.setattr(planning, "rebase", lambda plan, _snapshot, tick_s: overfull(plan))
    driver.plan()
    assert do.ReportFallback(Reason.PLAN_REJECTED_BY_CHECKER) in driver.effects
    assert driver.core.plan is in_force
    assert driver.take(do.LoadReplica) == driver.take(do.UnloadReplica) == []


def overfull(plan: Plan) -> Plan:
    """The plan with both models resident at once, which the accelerator cannot hold."""
    both = tuple(
        Residency("left-node-gpu", model, 0.0, 0.0, None, initial=model == "writer", kv_pool_bytes=POOL)
        for model in ("writer", "critic")
    )
    return replace(plan, residencies=both)


def test_a_node_that_is_lost_gives_its_stages_to_another() -> None:
    driver = Driver()
    driver.bring_up()
    driver.submit(single("writer"))
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    other = "right-node" if attempt.node == "left-node" else "left-node"
    for _ in range(4):
        driver.post(on.NodeSeen(other))
        driver.pass_time(driver.config.lease_ttl_s / 3)
    assert driver.stage("only").reason is Reason.NODE_LOST
    driver.plan()
    driver.finish_loads()
    (again,) = driver.attempts()
    assert again.node == other


def test_a_node_that_was_restarted_has_lost_what_ran_there() -> None:
    driver = Driver()
    driver.bring_up()
    driver.submit(single("writer"))
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    models = frozenset(fleet().models)
    driver.post(on.NodeRegistered(attempt.node, "another-instance", "127.0.0.1:2", models))
    assert driver.stage("only").state is StageState.WAITING
    assert driver.stage("only").reason is Reason.NODE_LOST


def test_a_draining_node_takes_nothing_new_and_finishes_what_runs() -> None:
    driver = Driver()
    driver.bring_up()
    driver.submit(single("writer"))
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    driver.post(on.NodeDrainRequested(attempt.node, undrain=False))
    driver.submit(single("writer"), "w2")
    driver.plan()
    driver.finish_loads()
    (elsewhere,) = driver.attempts()
    assert elsewhere.node != attempt.node
    driver.finish(attempt)
    assert driver.stage("only").state is StageState.SUCCEEDED


def test_a_stage_whose_model_no_node_has_says_so_and_holds_up_nobody() -> None:
    driver = Driver()
    driver.post(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", frozenset({"writer"})))
    driver.report("left-node")
    driver.submit(single("critic"), "w1")
    driver.submit(single("writer"), "w2")
    driver.plan()
    driver.finish_loads()
    assert [a.key.workflow for a in driver.attempts()] == ["w2"]
    assert driver.core.waiting("w1")["only"].reason is Reason.NO_ACCELERATOR_FITS


def test_an_attempt_the_node_does_not_know_after_a_restart_of_the_scheduler_is_tried_again() -> None:
    driver = Driver()
    driver.bring_up()
    driver.submit(single("writer"))
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    driver.post(on.NodeRegistered(attempt.node, "another", "127.0.0.1:2", frozenset(fleet().models)))
    driver.report(attempt.node, instance="another", attempts=(on.AttemptReport("unknown/attempt/1", running=True),))
    assert do.CancelAttempt(attempt.node, "unknown/attempt/1") in driver.effects


def test_while_the_planner_is_down_the_heuristic_orders_loads() -> None:
    driver = one_node()
    driver.submit(single("writer"))
    driver.post(on.PlanDue())
    driver.take(do.RequestPlan)
    driver.post(on.PlanningFailed(1, Reason.SOLVER_CRASHED))
    assert [e.model for e in driver.take(do.LoadReplica) if isinstance(e, do.LoadReplica)] == ["writer"]
