"""What the scheduler writes to its log of nodes, replicas and plans."""

from __future__ import annotations

import logging

import pytest
from core_driver import Driver

from maestro.plan import PlanSource, Provenance, SolveStatus
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.fleet_log import FleetLog, plan_line


def status(*replicas: on.ReplicaReport) -> on.NodeStatusReported:
    return on.NodeStatusReported("left-node", "left-node-1", replicas, ())


def replica(phase: ReplicaPhase, generation: int = 1, detail: str = "") -> on.ReplicaReport:
    return on.ReplicaReport("left-node-gpu", "writer", generation, phase, 0, 44.0, detail)


def test_every_change_of_a_replica_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = FleetLog()
    loading, ready = replica(ReplicaPhase.LOADING), replica(ReplicaPhase.READY)
    failed = replica(ReplicaPhase.FAILED, 2, "no memory")
    for seen in ((loading,), (loading,), (ready,), (ready,), (), (failed,), ()):
        log.observe(status(*seen), {})
    assert caplog.messages == [
        "writer is loading on left-node-gpu",
        "writer is ready on left-node-gpu after 44.0 s",
        "writer was evicted from left-node-gpu",
        "writer failed on left-node-gpu: no memory",
    ]


def test_nodes_that_come_drain_and_are_lost_are_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    driver, log = Driver(), FleetLog()

    def after(event: on.Event) -> None:
        driver.post(event)
        log.observe(event, driver.core.nodes)

    after(on.NodeRegistered("left-node", "left-node-1", "127.0.0.1:1", frozenset({"writer"})))
    after(on.NodeDrainRequested("left-node", undrain=False))
    after(on.NodeDrainRequested("left-node", undrain=True))
    driver.now += 1_000.0
    after(on.Tick())
    assert caplog.messages == [f"node left-node is {state}" for state in ("up", "draining", "up", "lost")]
    assert caplog.records[-1].levelname == "WARNING"


def test_a_plan_is_one_short_line() -> None:
    provenance = Provenance(7, PlanSource.PORTFOLIO, SolveStatus.HEURISTIC, 1.25, {"late": 1.25}, gap=0.125)
    line = plan_line(provenance, None)
    assert line.startswith("source portfolio, status heuristic, objective 1.25, gap 12.5%")
    assert len(line) < 200
