"""What clients are told of a stage whose model is still to come."""

from __future__ import annotations

from core_driver import Driver
from service_world import call

from maestro.snapshot import ReplicaPhase
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do


def driver_with_a_load() -> tuple[Driver, do.LoadReplica]:
    """A core that has just ordered the load its only workflow needs."""
    driver = Driver()
    driver.bring_up()
    driver.submit(WorkflowSpec("essays", (call("a"), call("b", "a"))))
    driver.plan()
    (load,) = driver.take(do.LoadReplica)
    assert isinstance(load, do.LoadReplica)
    return driver, load


def test_a_stage_says_which_model_loads_where_for_how_long_and_how_long_it_takes() -> None:
    driver, load = driver_with_a_load()
    driver.now += 60.0
    notes = driver.core.load_notes("w1", driver.now)
    assert set(notes) == {"a"}
    assert notes["a"].startswith(f"waiting for {load.model} to load on {load.accelerator} (60 s of about ")


def test_a_load_that_failed_is_told_with_when_it_is_tried_again() -> None:
    driver, load = driver_with_a_load()
    failed = on.ReplicaReport(load.accelerator, load.model, load.generation, ReplicaPhase.FAILED, 0, 1.0, "no memory")
    driver.report(load.node, failed)
    note = driver.core.load_notes("w1", driver.now)["a"]
    assert note.startswith(f"{load.model} failed to load on {load.accelerator} once, tried again in ")


def test_what_waits_for_nothing_to_load_has_no_note() -> None:
    driver = Driver()
    driver.submit(WorkflowSpec("essays", (call("a"),)))
    assert driver.core.load_notes("w1", driver.now) == {}
    assert driver.core.load_notes("unheard-of", driver.now) == {}
