"""Claims about what `maestro status` shows."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from maestro.client import PlanReport
from maestro.costs import CoverageCounts, PredictorReport
from maestro.plan import Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro.status import StageState, StageStatus, WorkflowState, WorkflowStatus
from maestro_services.cli.fleet_client import AcceleratorView, NodeView, ReplicaView
from maestro_services.cli.status_view import StatusReport, status_view

LOADING = ReplicaView("small", 1, ReplicaPhase.LOADING, 1, 1, 0, 32.4, "")
NODE = NodeView("left", "c", "a:1", "up", 0, (AcceleratorView("gpu-0", 10, 2, (LOADING,)),))
RETRIED = StageStatus("draft", StageState.WAITING, reason=Reason.NODE_LOST, attempts=2)
ACTIVE = WorkflowStatus(
    "w1", "default", "app", "standard", WorkflowState.ACTIVE, 99.0, 90_000.0, stages=(RETRIED, replace(RETRIED, id="b"))
)
PROVENANCE = Provenance(1, PlanSource.PORTFOLIO, SolveStatus.HEURISTIC, 1.0, {})
REPORT = StatusReport(
    (NODE,),
    (ACTIVE,),
    PlanReport(Plan(99.0, 30.0, (), (), (), PROVENANCE), {}, {}),
    PredictorReport("role_statistics", "", 0, CoverageCounts(0, 0, 0, 0)),
    is_idle=False,
    at_s=100.0,
)


def shown(report: StatusReport) -> str:
    console = Console(width=220)
    with console.capture() as capture:
        console.print(status_view(report))
    return capture.get()


def test_a_load_has_its_age_and_a_workflow_what_it_is_doing() -> None:
    """Tests that whoever waits sees what for."""
    text = shown(REPORT)
    assert "small loading for 32 s" in text
    assert "0/2, draft: retry 2, node lost (and 1 more)" in text
    assert "plan in force: 0 stages placed" in text


def test_a_model_on_several_accelerators_is_shown_with_each_of_them() -> None:
    """Tests that whoever looks at either accelerator sees what takes it."""
    wide = replace(LOADING, phase=ReplicaPhase.READY, peers=("gpu-1",))
    accelerators = (AcceleratorView("gpu-0", 10, 2, (wide,)), AcceleratorView("gpu-1", 10, 2, ()))
    lines = shown(replace(REPORT, nodes=(replace(NODE, accelerators=accelerators),))).splitlines()
    (first,) = (line for line in lines if "│ gpu-0" in line)
    (second,) = (line for line in lines if "│ gpu-1" in line)
    assert "small ready with gpu-1" in first
    assert "small ready, see gpu-0" in second


def test_an_idle_fleet_has_no_plan_in_force() -> None:
    """Tests that a plan all of whose work has ended is not told as one."""
    text = shown(replace(REPORT, is_idle=True))
    assert "nothing to plan; the last plan placed 0 stages" in text
    assert "in force" not in text


def test_a_cancelled_workflow_has_missed_no_deadline() -> None:
    """Tests the deadline of what was given up."""
    text = shown(replace(REPORT, workflows=(replace(ACTIVE, state=WorkflowState.CANCELLED, ended_at_s=100.0),)))
    assert "missed" not in text
