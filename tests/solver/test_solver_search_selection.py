"""Very large snapshots: what the limit has no time for is put off, the rest is tied to clusters."""

from __future__ import annotations

import time

from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_solver.check import check
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import generate
from maestro_solver.planner.selection import select
from maestro_solver.search.bounds import Bound, critical_path_bound, longest_path_bound
from maestro_solver.stage_options import Ties


def a_large_snapshot(stages: int = 120) -> Snapshot:
    return generate("huge", stages, 16, seed=1)


def test_a_snapshot_that_the_limit_has_time_for_is_planned_whole() -> None:
    found = select(a_large_snapshot(), limit_s=10.0)
    assert found.left_out == ()
    assert found.cluster_of == {}


def test_a_larger_one_is_shared_out_among_the_clusters() -> None:
    given = a_large_snapshot()
    found = select(given, limit_s=0.04)
    assert found.snapshot.waiting
    clusters = {accelerator.cluster for accelerator in given.accelerators}
    assert {found.cluster_of[stage.key.workflow] for stage in found.snapshot.waiting} == clusters
    instance = discretize(found.snapshot, Grid.suited(given), 60.0, Ties(found.cluster_of))
    for stage in instance.stages:
        clusters_of = {instance.accelerators[option.accelerator].cluster for option in stage.options}
        assert {instance.clusters[cluster] for cluster in clusters_of} <= {found.cluster_of[stage.key.workflow]}


def test_whole_workflows_are_left_out_and_nothing_is_lost() -> None:
    given = a_large_snapshot()
    found = select(given, limit_s=0.01)
    kept = {stage.key for stage in found.snapshot.waiting}
    assert kept
    assert found.left_out
    assert kept | set(found.left_out) == {stage.key for stage in given.waiting}
    assert not {key.workflow for key in kept} & {key.workflow for key in found.left_out}


def test_what_is_left_out_is_deferred_and_it_is_told() -> None:
    given = a_large_snapshot()
    found = plan(given, PlannerConfig(limit_s=0.02), time.monotonic)
    assert check(given, found) == ()
    assert found.assignments
    assert {deferral.reason for deferral in found.deferred} >= {Reason.DEFERRED_BEYOND_HORIZON}
    assert "left out" in found.provenance.notes


def test_the_bound_of_longest_paths_is_below_that_of_critical_paths() -> None:
    given = a_large_snapshot()
    instance = discretize(given, Grid.suited(given), 60.0)
    assert 0.0 < longest_path_bound(instance) <= critical_path_bound(instance)
    assert Bound(instance, None, tied=True).value == longest_path_bound(instance)
