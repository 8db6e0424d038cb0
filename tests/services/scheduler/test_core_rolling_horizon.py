"""What a plan is asked for again and again: what is in force goes with the snapshot, and no news is no plan."""

from __future__ import annotations

from core_driver import Driver, core_config
from service_world import call

from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_solver.heuristics.dispatch import URGENCY

LATER_S = 0.2


def chain() -> WorkflowSpec:
    stages = (call("draft", models=("writer",)), call("review", "draft", models=("critic",)))
    return WorkflowSpec("essays", stages, deadline_after_s=300.0)


def asked(driver: Driver) -> list[Snapshot]:
    """The snapshots of the plans that are asked for now."""
    driver.now += LATER_S
    driver.post(on.PlanDue())
    return [found.snapshot for found in driver.take(do.RequestPlan) if isinstance(found, do.RequestPlan)]


def test_a_snapshot_tells_what_is_in_force_and_when_it_is_due_from_now_on() -> None:
    driver = Driver(core_config(starts=None))
    driver.bring_up("left-node")
    driver.submit(chain())
    driver.plan()
    before = driver.core.snapshot(driver.now).in_force
    driver.pass_time(1.0)
    after = driver.core.snapshot(driver.now).in_force
    assert {start.stage.stage for start in before.starts} == {"draft", "review"}
    for earlier, later in zip(before.starts, after.starts, strict=True):
        assert abs(earlier.due_in_s - later.due_in_s - 1.0) < 1e-6


def test_what_is_ready_and_due_soon_in_front_of_a_ready_replica_is_committed() -> None:
    driver = Driver(core_config(starts=None))
    driver.bring_up("left-node")
    for index in range(6):
        driver.submit(WorkflowSpec("essays", (call("only"),)), f"w{index}")
    driver.plan()
    driver.finish_loads()
    driver.attempts()
    driver.submit(chain(), "later")
    driver.now += LATER_S
    driver.plan()
    committed = {start.stage for start in driver.core.snapshot(driver.now).in_force.starts if start.committed}
    assert StageKey("later", "review") not in committed
    assert committed


def test_a_plan_of_residency_is_asked_for_again_only_if_the_demand_or_the_fleet_has_changed() -> None:
    driver = Driver(core_config(starts=URGENCY))
    driver.bring_up()
    for index in range(40):
        driver.submit(chain(), f"w{index}")
    driver.plan()
    driver.finish_loads()
    assert asked(driver), "two replicas are there that were not"
    driver.post(on.PlanMade(driver.core.plan))  # type: ignore[arg-type]
    assert asked(driver) == []
    driver.submit(chain(), "one-more")
    assert asked(driver) == [], "a fortieth more is no news"
    for index in range(10):
        driver.submit(chain(), f"more{index}")
    assert asked(driver)


def test_a_solver_that_gave_nothing_better_is_asked_again() -> None:
    driver = Driver(core_config(starts=URGENCY))
    driver.bring_up()
    driver.submit(chain())
    (snapshot,) = asked(driver)
    driver.post(on.PlanningFailed(snapshot.version, Reason.SOLVER_TIMED_OUT))
    assert asked(driver)
