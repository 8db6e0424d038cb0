"""Idle models leave for ready stages that elastic KV has no room for beside them; nothing busy or pinned does."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from elastic_node import FULL_BYTES, MODEL_BYTES, MODES, Elastic, elastic_fleet, large, small
from service_world import MIB, model

from maestro.reasons import Reason
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.clearing import PATIENCE_S

every_mode = pytest.mark.parametrize("mode", MODES)


def filled(mode: str, **changes: float) -> Elastic:
    """Both models resident and idle: they leave 640 tokens."""
    world = Elastic.of(mode, **changes)
    for name in ("writer", "critic"):
        world.driver.submit(small(name), f"warm-{name}")
        world.go_on(20.0)
    assert world.resident == {("gpu-0", "writer"), ("gpu-0", "critic")}
    return world


@every_mode
def test_an_idle_model_leaves_for_a_stage_that_has_no_room_beside_it(mode: str) -> None:
    world = filled(mode)
    world.driver.submit(large())
    world.go_on(20.0)
    assert world.ended("w1")
    assert ("gpu-0", "critic") in world.evicted


@every_mode
def test_stages_of_both_models_that_have_no_room_beside_each_other_take_turns(mode: str) -> None:
    world = filled(mode)
    for index in range(3):
        world.driver.submit(large("writer"), f"w{index}")
        world.driver.submit(large("critic"), f"c{index}")
    world.go_on(120.0)
    assert world.driver.core.active_workflows() == 0


@every_mode
def test_what_is_at_work_does_not_leave_before_it_has_ended(mode: str) -> None:
    world = filled(mode, attempt_s=30.0)
    world.driver.submit(small("critic"), "busy")
    world.answer()
    assert world.running
    world.driver.submit(large())
    world.go_on(25.0)
    assert world.evicted == []
    world.go_on(60.0)
    assert world.ended("busy", "w1")


def test_a_stage_is_told_what_it_waits_for() -> None:
    world = filled("edf", unload_s=5.0)
    world.driver.submit(large())
    assert world.driver.stage("only").reason is Reason.WAITING_FOR_KV


@pytest.mark.parametrize("mode", ["edf", "plans of residency"])
def test_no_load_takes_the_room_that_was_made_for_a_stage(mode: str) -> None:
    """Tests that a plan made while the other model leaves, and wants it back, waits until the stage has started."""
    world = filled(mode, unload_s=5.0, attempt_s=5.0)
    world.driver.submit(large())
    world.answer()
    assert len(world.leaving) == 1
    world.driver.submit(large("critic"), "next")
    world.go_on(4.0)
    world.driver.take(do.LoadReplica)
    world.driver.now += 2.0
    (_, unload) = world.leaving.pop()
    del world.held[unload.accelerator, unload.model]
    world.driver.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
    assert [attempt.key.workflow for attempt in world.driver.attempts()] == ["w1"]
    assert not world.driver.take(do.LoadReplica)


def test_nobody_leaves_for_a_stage_that_has_room_as_soon_as_others_end() -> None:
    """Tests that an idle model stays for a while, but not for ever."""
    world = Elastic.of("edf", elastic_fleet(FULL_BYTES + 50 * MIB), attempt_s=2 * PATIENCE_S)
    for name in ("writer", "critic"):
        world.driver.submit(small(name), f"warm-{name}")
        world.go_on(2 * PATIENCE_S + 5.0)
    for name in ("first", "second"):
        world.driver.submit(large(), name)
    world.go_on(PATIENCE_S - 10.0)
    assert len(world.running) == 1
    assert world.evicted == []
    world.go_on(20.0)
    assert len(world.running) == 2
    assert world.evicted == [("gpu-0", "critic")]


@every_mode
def test_a_pinned_model_stays_and_the_stage_runs_elsewhere(mode: str) -> None:
    pinned = replace(model("critic"), pinned_on=frozenset({"gpu-0"}))
    fleet = elastic_fleet(FULL_BYTES, MODEL_BYTES + 100 * MIB, models=(model("writer"), pinned))
    world = Elastic.of(mode, fleet)
    world.driver.report("left-node", *held(world, ("critic", 1), ("writer", 2)))
    world.go_on(5.0)
    world.driver.submit(large())
    world.go_on(60.0)
    assert world.ended("w1")
    assert ("gpu-0", "critic") in world.resident


def test_a_model_is_loaded_where_its_next_stage_has_room_however_short_the_queue() -> None:
    world = Elastic.of("edf", elastic_fleet(MODEL_BYTES + 10 * MIB, MODEL_BYTES + 100 * MIB))
    world.driver.report("left-node", *held(world, ("writer", 1)))
    world.driver.submit(large())
    world.go_on(20.0)
    assert world.ended("w1")


@pytest.mark.parametrize("mode", ["plans of residency", "plans of stages"])
def test_a_stage_that_what_is_pinned_leaves_no_room_for_is_told_so(mode: str) -> None:
    pinned = replace(model("critic"), pinned_on=frozenset({"gpu-0"}))
    world = Elastic.of(mode, elastic_fleet(FULL_BYTES, models=(model("writer"), pinned)))
    world.driver.report("left-node", *held(world, ("critic", 1), ("writer", 2)))
    world.driver.submit(large())
    world.go_on(10.0)
    assert world.driver.stage("only").reason is Reason.NO_ACCELERATOR_FITS
    assert world.evicted == []


@every_mode
@pytest.mark.parametrize("seed", range(2))
def test_every_workflow_ends_while_models_compete_for_memory(mode: str, seed: int) -> None:
    """Tests with drawn sizes and arrivals, a tensor-parallel and a pinned model, and slow unloads.

    The node checks memory, and that nothing at work leaves.
    """
    drawn = random.Random(seed)
    wide, pinned = (
        replace(model("wide"), tensor_parallel_size=2),
        replace(model("critic"), pinned_on=frozenset({"gpu-0"})),
    )
    models = (model("writer"), pinned if seed else model("critic"), model("editor"), wide)
    world = Elastic.of(mode, elastic_fleet(FULL_BYTES, FULL_BYTES, models=models), unload_s=1.0, attempt_s=2.0)
    for index in range(24):
        make = drawn.choice((small, large))
        world.driver.submit(make(drawn.choice(models).name), f"w{index}")
        world.go_on(drawn.choice((0.0, 1.0, 6.0)), step_s=1.0)
    for _ in range(40):
        world.go_on(10.0, step_s=1.0)
        if not world.driver.core.active_workflows():
            return
    raise AssertionError("a workflow never ended")


def held(world: Elastic, *replicas: tuple[str, int]) -> tuple[on.ReplicaReport, ...]:
    """Replicas on gpu-0 that an earlier scheduler has loaded, with their generations."""
    for name, generation in replicas:
        report = on.ReplicaReport("gpu-0", name, generation, on.ReplicaPhase.READY, 0, 0.2, "")
        world.held["gpu-0", name] = report
    return tuple(world.held.values())
