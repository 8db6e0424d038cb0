"""The checks of this folder find what they look for: they are of no use where they cannot fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from audit import Audit, Load
from deployment import ROOT
from plan_checks import RunStage, check_that_loads_were_planned, check_that_stages_ran_where_plans_wanted, overfull
from plan_record import PlanRecord, in_force

from maestro.client import PlanReport
from maestro.plan import Assignment, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.scenario import load
from maestro.snapshot import StageKey
from maestro.status import StageState, StageStatus

FLEET = load(ROOT / "scenarios" / "laptop.yaml").fleet_spec()
WRITER = FLEET.models["smollm2-writer"]
PROVENANCE = Provenance(1, PlanSource.CP_SAT, SolveStatus.FEASIBLE, 0.0, {})
RESIDENCY = Residency("left-cpu", WRITER.name, 0.0, 45.0, None, initial=False, kv_pool_bytes=WRITER.kv_pool_bytes)
DRAFT = Assignment(StageKey("w", "draft"), "left-cpu", WRITER.name, 45.0, 50.0, 1)
LOAD = Load("left-cpu", WRITER.name, 7, after_s=100.0, seen_s=101.0)


def plan(taken_at_s: float, *residencies: Residency, assignments: tuple[Assignment, ...] = ()) -> Plan:
    return Plan(taken_at_s, 300.0, assignments, residencies, (), PROVENANCE)


def life(*plans: Plan, began_s: float = 0.0) -> PlanRecord:
    record = PlanRecord(began_s)
    for count, made in enumerate(plans, start=1):
        record.note(PlanReport(made, {"cp_sat": count}, {}))
    return record


def run(**changes: object) -> RunStage:
    status = StageStatus("draft", StageState.SUCCEEDED, model=WRITER.name, accelerator="left-cpu")
    timed = replace(status, replica_generation=7, ready_at_s=150.0, started_at_s=150.0)
    return RunStage("w", replace(timed, **changes), (WRITER.name,))  # type: ignore[arg-type]


def test_a_plan_is_in_force_until_the_next_one_or_its_scheduler_s_end() -> None:
    first, second, third = plan(10.0), plan(20.0), plan(40.0)
    lives = [life(first, second), life(third, began_s=30.0)]
    assert in_force(lives, 11.0, 12.0) == [first]
    assert in_force(lives, 15.0, 25.0) == [first, second]
    assert in_force(lives, 31.0, 39.0) == []
    assert in_force(lives, 50.0, 50.0) == [third]


def test_a_plan_that_nobody_saw_is_counted_as_missed() -> None:
    record = life(plan(10.0))
    record.note(PlanReport(plan(20.0), {"cp_sat": 3}, {}))
    assert record.missed == 1


def test_two_models_that_do_not_fit_together_are_found() -> None:
    other = replace(RESIDENCY, model="smollm2-critic", load_start_s=10.0)
    assert overfull(plan(0.0, RESIDENCY, other), FLEET) == ["left-cpu"]
    assert overfull(plan(0.0, replace(RESIDENCY, end_s=10.0), other), FLEET) == []


def test_a_load_that_no_plan_wanted_is_found() -> None:
    planned, resident = plan(90.0, RESIDENCY), plan(90.0, replace(RESIDENCY, initial=True))
    early = replace(LOAD, generation=6, after_s=90.0, seen_s=91.0)
    check_that_loads_were_planned([life(planned)], [LOAD], [])
    waited = [run(ready_at_s=100.5, started_at_s=150.0)]
    check_that_loads_were_planned([life(planned, plan(95.0))], [early, LOAD], waited)
    with pytest.raises(AssertionError):
        check_that_loads_were_planned([life(planned, plan(95.0))], [early, LOAD], [])
    with pytest.raises(AssertionError):
        check_that_loads_were_planned([life(resident)], [LOAD], waited)


def test_a_stage_that_ran_elsewhere_than_planned_is_found() -> None:
    wanted = life(plan(90.0, RESIDENCY, assignments=(DRAFT,)))
    moved = life(plan(90.0, RESIDENCY, assignments=(replace(DRAFT, accelerator="right-cpu"),)))
    check_that_stages_ran_where_plans_wanted([wanted], [LOAD], [run()])
    with pytest.raises(AssertionError):
        check_that_stages_ran_where_plans_wanted([moved], [LOAD], [run()])
    with pytest.raises(KeyError):
        check_that_stages_ran_where_plans_wanted([wanted], [LOAD], [run(replica_generation=8)])


@pytest.mark.parametrize(
    ("blocks", "running", "outgrown", "found"), [(4, 1, 0, 0), (5, 1, 0, 1), (5, 2, 0, 0), (5, 1, 32, 0)]
)
def test_kv_beyond_what_was_reserved_is_found(
    blocks: int, running: int, outgrown: int, found: int, tmp_path: Path
) -> None:
    """Tests with a reservation of three blocks, and one more for each running request."""
    block_bytes = 32 * WRITER.kv_bytes_per_token
    sample = {
        "kind": "engine",
        "model": WRITER.name,
        "kv_usage": blocks / (WRITER.kv_pool_bytes // block_bytes - 1),
        "kv_pool_bytes": WRITER.kv_pool_bytes,
        "kv_reserved_bytes": 3 * block_bytes,
        "running": running,
    }
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps(sample) + "\n" + '{"kind": "engi')
    assert len(Audit(path).over_reserved(WRITER, 32, outgrown)) == found
