"""The lower bound on snapshots: no enumerated plan costs less, and critical paths are never tighter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, permutations, product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from snapshot_builders import accelerator, replica, snapshot, stage, workflow
from snapshot_strategy import snapshots

from maestro.snapshot import Snapshot
from maestro_solver.bounds import critical_path_bound
from maestro_solver.discretize import discretize
from maestro_solver.grid import Grid
from maestro_solver.instance import GridOption, GridStage, Instance
from maestro_solver.planner.generate import generate
from maestro_solver.search.bounds import Bound, lower_bound
from maestro_solver.search.layout import lay_out
from maestro_solver.shop.decoder import decode_whole, order_by_key
from maestro_solver.shop.timeline import like, timeline_at

FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
MOST_STAGES = 4
MOST_CHOICES = 40


def on_grid(found: Snapshot) -> Instance:
    return discretize(found, Grid.suited(found), 30.0)


def cheapest_by_enumeration(instance: Instance) -> float:
    """The least cost over all orders and all choices of options, as many of these as there are time for."""
    return min((cost for chosen in islice(_choices(instance), MOST_CHOICES) for cost in _costs(chosen)), default=np.inf)


def _choices(instance: Instance) -> Iterator[Instance]:
    """The instance with every stage tied to one of its options, and the instance itself."""
    yield instance
    for options in product(*((found.options or (None,)) for found in instance.stages)):
        stages = tuple(
            found if option is None else _tied(found, option)
            for found, option in zip(instance.stages, options, strict=True)
        )
        yield replace(instance, stages=stages)


def _tied(found: GridStage, option: GridOption) -> GridStage:
    """The stage with one option alone, which may take longer than others did."""
    longer = option.duration - min(each.duration for each in found.options)
    return replace(found, options=(option,), tail=found.tail + longer)


def _costs(instance: Instance) -> Iterator[float]:
    layout = lay_out(instance)
    if layout is None:
        return
    shop = layout.shop
    line = timeline_at(like(shop, 1), 0)
    completion = np.zeros(shop.deadline.size, dtype=np.int64)
    for key in permutations(range(shop.stage_workflow.size)):
        order = order_by_key(shop, np.array(key, dtype=np.float64))
        for patience in (0.0, 100.0):
            yield decode_whole(shop, line, order, patience, completion, np.inf)


@FEW
@given(snapshots())
def test_no_enumerated_plan_costs_less_than_the_bound(found: Snapshot) -> None:
    instance = on_grid(found)
    layout = lay_out(instance)
    assume(layout is not None and len(instance.stages) <= MOST_STAGES)
    assert layout is not None
    assume(all(found.obstacle is None for found in instance.stages))
    assert lower_bound(layout, limit_s=10.0) <= cheapest_by_enumeration(instance) + 1e-6


@pytest.mark.parametrize("family", ["small", "contended", "pools", "two_models_one_slot", "tensor-parallel"])
def test_the_relaxation_is_never_weaker_than_critical_paths(family: str) -> None:
    layout = lay_out(on_grid(generate(family, 40, seed=1)))
    assert layout is not None
    assert lower_bound(layout, limit_s=10.0) >= critical_path_bound(layout.instance)


def test_the_relaxation_sees_that_not_all_can_be_on_time() -> None:
    """Tests ten workflows with one slot between them and time for one: all but a few are late in the bound."""
    waiting = [stage("only", workflow=f"w{position}", duration_s=5.0) for position in range(10)]
    found = snapshot(
        [accelerator("gpu0", replica("alpha"), slots=1)],
        waiting,
        workflows=[workflow(f"w{position}", deadline_s=5.0) for position in range(10)],
    )
    layout = lay_out(on_grid(found))
    assert layout is not None
    assert critical_path_bound(layout.instance) < 100.0
    assert lower_bound(layout, limit_s=10.0) > 500.0


def test_without_time_the_bound_is_that_of_critical_paths() -> None:
    instance = on_grid(generate("contended", 40, seed=2))
    bound = Bound(instance, lay_out(instance))
    bound.tighten(0.0)
    bound.wait(0.0)
    assert bound.value >= critical_path_bound(instance)
