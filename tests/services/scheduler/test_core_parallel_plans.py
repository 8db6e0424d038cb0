"""Plans of tensor-parallel stages carried out: their turn on every accelerator, and loads with evictions."""

from __future__ import annotations

import pytest
from core_driver import Driver
from parallel_fleet import NODE, accelerator, driver, fleet, shown, single
from service_world import call

from maestro.plan import Assignment, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.snapshot import ReplicaPhase, ReplicaPlace, StageKey
from maestro.status import StageState
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.agenda import Agenda, PlannedLoad, PlannedStage
from maestro_solver.heuristics.dispatch import URGENCY, DispatchPolicy

GROUPS = {("wide", "g0"): ("g0", "g1"), ("wide", "g2"): ("g2", "g3")}


def staged(name: str, place: str, model: str, start_s: float) -> PlannedStage:
    return PlannedStage(StageKey("w", name), place, model, start_s, start_s + 1.0, 1)


def load(place: str, model: str, at_s: float, *evicts: ReplicaPlace, turn: bool = False) -> PlannedLoad:
    return PlannedLoad(place, model, at_s, at_s + 1.0, frozenset(evicts), 1, turn=turn)


def order(agenda: Agenda, name: str) -> list[str]:
    return [planned.key.stage for planned in agenda.pending(name)]


def agenda() -> Agenda:
    found = Agenda(GROUPS)
    stages = (
        ("a", "g0", "wide", 2.0),
        ("b", "g1", "writer", 1.0),
        ("c", "g0", "writer", 3.0),
        ("d", "g3", "writer", 0.0),
    )
    for each in stages:
        found.add(staged(*each))
    return found


def test_a_stage_stands_in_the_order_of_every_accelerator_it_takes() -> None:
    found = agenda()
    assert [order(found, name) for name in ("g0", "g1", "g2", "g3")] == [["a", "c"], ["b", "a"], [], ["d"]]
    found.drop(StageKey("w", "a"))
    assert [order(found, name) for name in ("g0", "g1")] == [["c"], ["b"]]


def test_what_is_in_force_is_told_once() -> None:
    found = agenda()
    found.add_load(load("g0", "wide", 5.0, ReplicaPlace("writer", "g1")))
    ahead: dict[str, int] = {}
    told = found.in_force(
        0.0, 10.0, lambda planned, count: bool(ahead.setdefault(planned.key.stage, count) + 1), places_stages=False
    )
    assert [start.stage.stage for start in told.starts] == ["d", "b", "a", "c"]
    assert [(each.accelerator, each.evicts) for each in told.loads] == [
        ("g0", frozenset({ReplicaPlace("writer", "g1")}))
    ]
    assert ahead == {"a": 1, "b": 0, "c": 1, "d": 0}  # on any of its accelerators


def test_an_accelerator_that_is_given_up_takes_the_stages_along_that_need_others_too() -> None:
    found = agenda()
    found.add_load(load("g0", "wide", 5.0))
    assert [key.stage for key in found.drop_accelerators(["g1"])] == ["b", "a"]
    assert [order(found, name) for name in ("g0", "g1")] == [["c"], []]
    assert found.loads["g0"] == found.loads["g1"] == []


def test_a_load_waits_for_the_earlier_ones_of_all_its_accelerators() -> None:
    found = agenda()
    first, wide, other = load("g1", "writer", 1.0), load("g0", "wide", 2.0), load("g2", "wide", 0.0)
    for each in (wide, first, other):
        found.add_load(each)
    assert [found.is_next(each) for each in (first, wide, other)] == [True, False, True]
    found.drop_load(first)
    assert found.is_next(wide)


def test_a_replica_leaves_for_a_load_on_any_of_its_accelerators() -> None:
    found = agenda()
    small = load("g1", "writer", 4.0, ReplicaPlace("wide", "g0"))
    found.add_load(small)
    assert found.next_eviction("g0", "wide") is small
    assert found.next_eviction("g0", "wide", before_s=3.0) is None
    assert found.next_eviction("g2", "wide") is None
    wide = load("g2", "wide", 1.0, ReplicaPlace("writer", "g3"))
    found.add_load(wide)
    assert found.next_eviction("g3", "writer") is wide


def test_a_turn_that_was_given_has_other_loads_give_way_on_all_its_accelerators() -> None:
    earlier, later = Agenda(GROUPS), Agenda(GROUPS)
    turn = load("g0", "wide", 1.0, turn=True)
    earlier.add_load(turn)
    later.add_load(load("g1", "writer", 0.5))
    kept = load("g3", "writer", 0.5)
    later.add_load(kept)
    later.keep_turns(earlier)
    assert [later.loads[name] for name in ("g0", "g1", "g3")] == [[turn], [turn], [kept]]


def planned(*residencies: Residency, assignments: tuple[Assignment, ...] = ()) -> Plan:
    provenance = Provenance(1, PlanSource.CP_SAT, SolveStatus.FEASIBLE, 0.0, {})
    return Plan(0.0, 30.0, assignments, residencies, (), provenance)


def resident(place: str, model: str, end_s: float | None = None) -> Residency:
    return Residency(place, model, 0.0, 0.0, end_s, initial=True, kv_pool_bytes=1)


def loaded(place: str, model: str, at_s: float) -> Residency:
    return Residency(place, model, at_s, at_s + 1.0, None, initial=False, kv_pool_bytes=1)


def test_a_planned_load_evicts_what_ends_for_it_on_any_of_its_accelerators() -> None:
    found = Agenda.of(
        planned(
            resident("g1", "writer", 2.0),
            loaded("g0", "wide", 2.0),
            resident("g2", "wide", 3.0),
            loaded("g3", "writer", 3.0),
        ),
        groups=GROUPS,
    )
    assert {(each.accelerator, each.model, each.evicts) for queue in found.loads.values() for each in queue} == {
        ("g0", "wide", frozenset({ReplicaPlace("writer", "g1")})),
        ("g3", "writer", frozenset({ReplicaPlace("wide", "g2")})),
    }


@pytest.mark.parametrize("starts", [None, URGENCY], ids=["stages", "residency"])
def test_stages_of_both_sizes_are_planned_loaded_and_run_to_their_end(starts: DispatchPolicy | None) -> None:
    """Tests the planner's plans: both models are loaded, one of them over two accelerators."""
    found = driver(policy=None, starts=starts)
    chain = WorkflowSpec("essays", (call("a"), call("b", "a", models=("wide",)), call("c", "b")))
    for index in range(3):
        found.submit(chain, f"w{index}")
    found.run_to_the_end()
    ended = [t.status for t in found.transitions if isinstance(t, do.StageChanged) and t.status.state.final]
    assert {status.state for status in ended} == {StageState.SUCCEEDED}
    wide = {(status.accelerator, status.peers) for status in ended if status.model == "wide"}
    assert wide
    assert wide <= {("g0", ("g1",)), ("g2", ("g3",))}


def test_a_model_that_takes_two_accelerators_is_planned_in_place_of_two_that_take_one() -> None:
    """Tests evictions on both accelerators, and none of a replica that is at work."""
    found = driver(policy=None)
    found.report(NODE, *(shown(f"g{index}", "writer") for index in range(4)))
    found.submit(single("wide"))
    found.run_to_the_end()
    assert found.stage("only").state is StageState.SUCCEEDED


def test_a_stage_of_the_large_model_waits_for_slots_that_small_ones_hold() -> None:
    found: Driver = driver(fleet(8), policy=None)
    found.report(NODE, shown("g0", "wide"), shown("g1", "writer"), shown("g2", "wide", phase=ReplicaPhase.DRAINING))
    for index in range(4):
        found.submit(single("writer"), f"v{index}")
    assert len(found.attempts()) == 4
    found.submit(single("wide"))
    assert found.attempts() == []
    assert sum(accelerator(found, "g1").stages_held.values()) == 4
