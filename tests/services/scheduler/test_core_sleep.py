"""Evicted engines sleep in host memory, wake up for the next load, and leave where memory is short."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_driver import Driver, core_config, ready
from service_world import GIB, call, fleet, model, node

from maestro.fleet import ClusterSpec, Fleet, GpuBudget, NetworkSpec
from maestro.snapshot import ReplicaPhase
from maestro.special_tokens import SpecialTokens
from maestro.tokens import estimate_tokens
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import PromptRules
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do

NODE, GPU = "left-node", "left-node-gpu"


def sleeper(host_gib: int = 8, sleeping_bytes: int = GIB // 4) -> Driver:
    """One accelerator that holds one of three models at a time, on a node whose engines can sleep."""
    spec = replace(node(NODE), host_memory_bytes=host_gib * GIB, engines_sleep=True)
    models = {name: replace(model(name), sleeping_bytes=sleeping_bytes) for name in ("writer", "critic", "poet")}
    only = Fleet((ClusterSpec("left", (spec,)),), models, NetworkSpec(), GpuBudget(1))
    rules = dict.fromkeys(models, PromptRules(SpecialTokens(), estimate_tokens))
    driver = Driver(core_config(fleet=only, prompts=rules))
    driver.bring_up(NODE)
    return driver


def one(name: str) -> WorkflowSpec:
    return WorkflowSpec("essays", (call("only", models=(name,)),))


def resident(driver: Driver, name: str) -> int:
    """Runs one workflow of the model to its end and returns the generation of its replica."""
    driver.submit(one(name), f"{name}-{driver.now}")
    for _ in range(20):
        driver.plan()
        for sleep in driver.take(do.SleepReplica):
            assert isinstance(sleep, do.SleepReplica)
            driver.post(on.ReplicaAsleep(sleep.accelerator, sleep.model, sleep.generation))
        for wake in driver.take(do.WakeReplica):
            assert isinstance(wake, do.WakeReplica)
            driver.report(NODE, woken(wake), *asleep(driver))
        for unload in driver.take(do.UnloadReplica):
            assert isinstance(unload, do.UnloadReplica)
            driver.post(on.ReplicaUnloaded(unload.accelerator, unload.model, unload.generation))
        for load in driver.take(do.LoadReplica):
            assert isinstance(load, do.LoadReplica)
            driver.report(NODE, ready(load), *asleep(driver))
        for attempt in driver.attempts():
            driver.finish(attempt)
            return attempt.generation
        driver.pass_time(0.5)
    raise AssertionError(f"{name} never ran")


def asleep(driver: Driver) -> list[on.ReplicaReport]:
    """What the node reports of the engines that sleep."""
    sleeping = driver.core._state.accelerators[GPU].sleeping.values()
    return [report(GPU, s.model, s.generation, ReplicaPhase.SLEEPING) for s in sleeping]


def report(accelerator: str, name: str, generation: int, phase: ReplicaPhase) -> on.ReplicaReport:
    return on.ReplicaReport(accelerator, name, generation, phase, 256 << 20, 0.2, "")


def woken(wake: do.WakeReplica) -> on.ReplicaReport:
    return report(wake.accelerator, wake.model, wake.generation, ReplicaPhase.READY)


def evict_for(driver: Driver, name: str) -> None:
    """Has a model wanted that does not fit beside what is resident."""
    driver.submit(one(name), f"{name}-{driver.now}")
    driver.plan()


def test_an_evicted_engine_sleeps_and_its_successor_is_loaded_once_it_does() -> None:
    driver = sleeper()
    generation = resident(driver, "writer")
    evict_for(driver, "critic")
    assert driver.take(do.SleepReplica) == [do.SleepReplica(NODE, GPU, "writer", generation)]
    assert driver.take(do.LoadReplica) == []
    driver.post(on.ReplicaAsleep(GPU, "writer", generation))
    assert len(driver.take(do.LoadReplica)) == 1
    assert driver.take(do.UnloadReplica) == []


def test_a_sleeping_engine_is_woken_and_serves_in_its_old_generation() -> None:
    driver = sleeper()
    first = resident(driver, "writer")
    resident(driver, "critic")
    assert resident(driver, "writer") == first


def test_plans_count_on_the_shorter_way_back() -> None:
    driver = sleeper()
    cold_s = driver.core.snapshot(driver.now).load_s["writer", GPU]
    resident(driver, "writer")
    resident(driver, "critic")
    assert driver.core.snapshot(driver.now).load_s["writer", GPU] < cold_s / 5


def test_who_slept_longest_leaves_host_memory_for_who_was_used_later() -> None:
    driver = sleeper(host_gib=3)  # one model of 2 GiB
    first = resident(driver, "writer")
    second = resident(driver, "critic")
    evict_for(driver, "poet")
    assert driver.take(do.UnloadReplica) == [do.UnloadReplica(NODE, GPU, "writer", first)]
    assert driver.take(do.SleepReplica) == []  # not before there is room
    driver.post(on.ReplicaUnloaded(GPU, "writer", first))
    assert driver.take(do.SleepReplica) == [do.SleepReplica(NODE, GPU, "critic", second)]


def test_sleeping_engines_leave_where_a_load_needs_what_they_keep_of_the_device() -> None:
    driver = sleeper(sleeping_bytes=GIB)
    first = resident(driver, "writer")
    evict_for(driver, "critic")
    driver.take(do.SleepReplica)
    driver.post(on.ReplicaAsleep(GPU, "writer", first))
    assert driver.take(do.LoadReplica) == []  # 3.25 GiB do not fit beside 1 GiB
    assert driver.take(do.UnloadReplica) == [do.UnloadReplica(NODE, GPU, "writer", first)]
    driver.post(on.ReplicaUnloaded(GPU, "writer", first))
    assert len(driver.take(do.LoadReplica)) == 1


def test_a_sleeping_engine_that_its_node_would_not_stop_is_woken_again() -> None:
    driver = sleeper(sleeping_bytes=GIB)
    first = resident(driver, "writer")
    evict_for(driver, "critic")
    driver.post(on.ReplicaAsleep(GPU, "writer", first))
    driver.post(on.ReplicaCommandRefused(GPU, "writer", first))
    assert not driver.core._state.accelerators[GPU].sleeping["writer"].leaving


def test_people_are_told_that_waking_up_takes_less_than_a_start() -> None:
    driver = sleeper()
    resident(driver, "writer")
    second = resident(driver, "critic")
    evict_for(driver, "writer")
    workflow_id = f"writer-{driver.now}"
    driver.post(on.ReplicaAsleep(GPU, "critic", second))
    assert driver.core.load_notes(workflow_id, driver.now) == {
        "only": f"waiting for writer to load on {GPU} (0 s of about 0 s)"
    }


def test_a_model_larger_than_host_memory_is_unloaded() -> None:
    driver = sleeper(host_gib=1)
    generation = resident(driver, "writer")
    evict_for(driver, "critic")
    assert driver.take(do.UnloadReplica) == [do.UnloadReplica(NODE, GPU, "writer", generation)]


def test_engines_that_cannot_sleep_are_unloaded() -> None:
    spec = replace(node(NODE), engines_sleep=False)
    driver = Driver(
        core_config(fleet=Fleet((ClusterSpec("left", (spec,)),), fleet().models, NetworkSpec(), GpuBudget(1)))
    )
    driver.bring_up(NODE)
    generation = resident(driver, "writer")
    evict_for(driver, "critic")
    assert driver.take(do.UnloadReplica) == [do.UnloadReplica(NODE, GPU, "writer", generation)]


def test_a_node_that_refuses_to_put_an_engine_to_sleep_is_asked_to_unload_it() -> None:
    driver = sleeper()
    generation = resident(driver, "writer")
    evict_for(driver, "critic")
    driver.take(do.SleepReplica)
    driver.post(on.ReplicaCommandRefused(GPU, "writer", generation))
    driver.pass_time(2.0)
    driver.plan()
    assert driver.take(do.UnloadReplica) == [do.UnloadReplica(NODE, GPU, "writer", generation)]


def test_an_engine_that_cannot_be_woken_is_stopped_and_loaded_again() -> None:
    driver = sleeper()
    first = resident(driver, "writer")
    resident(driver, "critic")
    evict_for(driver, "writer")
    for sleep in driver.take(do.SleepReplica):
        assert isinstance(sleep, do.SleepReplica)
        driver.post(on.ReplicaAsleep(sleep.accelerator, sleep.model, sleep.generation))
    assert driver.take(do.WakeReplica) == [do.WakeReplica(NODE, GPU, "writer", first)]
    driver.post(on.ReplicaCommandRefused(GPU, "writer", first))
    assert do.UnloadReplica(NODE, GPU, "writer", first) in driver.take(do.UnloadReplica)
    driver.post(on.ReplicaUnloaded(GPU, "writer", first))
    for _ in range(6):  # a load that has failed waits before it is tried again
        driver.pass_time(1.0)
        driver.report(NODE, *asleep(driver))
    assert resident(driver, "writer") > first


@pytest.mark.parametrize("phase", [ReplicaPhase.SLEEPING, ReplicaPhase.LOADING])
def test_a_status_from_before_the_engine_was_woken_does_not_send_it_back_to_sleep(phase: ReplicaPhase) -> None:
    driver = sleeper()
    first = resident(driver, "writer")
    second = resident(driver, "critic")
    evict_for(driver, "writer")
    driver.post(on.ReplicaAsleep(GPU, "critic", second))
    driver.take(do.WakeReplica)
    others = report(GPU, "critic", second, ReplicaPhase.SLEEPING)
    driver.report(NODE, report(GPU, "writer", first, phase), others)
    assert driver.attempts() == []
    driver.report(NODE, report(GPU, "writer", first, ReplicaPhase.READY), others)
    assert [attempt.generation for attempt in driver.attempts()] == [first]


def test_a_restarted_scheduler_takes_over_what_sleeps() -> None:
    driver = sleeper()
    driver.report(NODE, report(GPU, "writer", 7, ReplicaPhase.SLEEPING))
    assert resident(driver, "writer") == 7


def test_what_a_node_shows_asleep_no_more_is_loaded_anew() -> None:
    driver = sleeper()
    first = resident(driver, "writer")
    second = resident(driver, "critic")
    driver.report(NODE, report(GPU, "critic", second, ReplicaPhase.READY))
    assert resident(driver, "writer") > first
