"""Time that depends on the place: neighbours stretch a stage, KV that still lies somewhere shortens it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from snapshot_builders import accelerator, replica, snapshot, stage

from maestro.plan import Assignment, Plan
from maestro.snapshot import PrefixReuse, Snapshot
from maestro.snapshot_codec import snapshot_from_dict, snapshot_to_dict
from maestro_solver.check import check
from maestro_solver.checks.case import Constraint
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.answering import plan_by

CONFIG = PlannerConfig(limit_s=0.5, tick_s=0.25, deterministic=True)


def places(stretch: Mapping[str, Mapping[str, float]] | None = None, reuse: Iterable[PrefixReuse] = ()) -> Snapshot:
    """Two accelerators that serve alpha, and one stage of it that typically takes 10 s."""
    fleet = [accelerator(name, replica("alpha")) for name in ("here", "there")]
    stretched = [replace(found, stretch=dict((stretch or {}).get(found.name, {}))) for found in fleet]
    return snapshot(stretched, [replace(stage("a", "alpha", 10.0), reuse=tuple(reuse))])


def planned(given: Snapshot, policy: str = "planner") -> tuple[Plan, Assignment]:
    made = plan_by(policy, given, CONFIG, lambda: 0.0)
    assert check(given, made) == ()
    return made, made.assignments[0]


@pytest.mark.parametrize("policy", ["planner", "portfolio", "edf"])
def test_a_stage_goes_where_no_neighbour_stretches_it(policy: str) -> None:
    made, assignment = planned(places({"here": {"alpha": 1.5}}), policy)
    assert (assignment.accelerator, assignment.end_s) == ("there", 10.0)
    assert made.provenance.bound is not None
    assert made.provenance.bound <= made.provenance.objective


@pytest.mark.parametrize("policy", ["planner", "portfolio", "edf"])
def test_a_stage_goes_where_its_prefix_lies(policy: str) -> None:
    made, assignment = planned(places(reuse=[PrefixReuse("alpha", "there", 2.5)]), policy)
    assert (assignment.accelerator, assignment.end_s) == ("there", 7.5)
    assert made.provenance.bound is not None
    assert made.provenance.bound <= made.provenance.objective


def test_what_a_prefix_saves_is_weighed_against_the_neighbours() -> None:
    _, assignment = planned(places({"there": {"alpha": 1.5}}, [PrefixReuse("alpha", "there", 2.5)]))
    assert (assignment.accelerator, assignment.end_s) == ("here", 10.0)
    _, assignment = planned(places({"there": {"alpha": 1.2}}, [PrefixReuse("alpha", "there", 2.5)]))
    assert (assignment.accelerator, assignment.end_s) == ("there", 9.0)


def test_a_prefix_never_saves_more_than_all_of_the_time() -> None:
    _, assignment = planned(places(reuse=[PrefixReuse("alpha", "there", 25.0)]))
    assert (assignment.start_s, assignment.end_s) == (0.0, 0.0)


@pytest.mark.parametrize("given", [places({"here": {"alpha": 1.5}}), places(reuse=[PrefixReuse("alpha", "here", 2.5)])])
def test_the_checker_refuses_the_typical_time_at_another_place(given: Snapshot) -> None:
    """Tests that a stage planned for its typical 10 s is caught where it takes more, or less."""
    made = plan(places(), CONFIG, lambda: 0.0)
    wrong = replace(made, assignments=(replace(made.assignments[0], accelerator="here"),))
    assert [violation.constraint for violation in check(given, wrong)] == [Constraint.DURATION]


def test_stretches_and_prefixes_survive_json() -> None:
    given = places({"here": {"alpha": 1.5}}, [PrefixReuse("alpha", "there", 2.5)])
    assert snapshot_from_dict(snapshot_to_dict(given)) == given
