"""Tensor-parallel replicas in the lossy world: whatever fails, no accelerator of one is ever over its memory.

The world's own checks hold for them as for any other: every workflow ends, and core and nodes agree in the end.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from lossy_play import STORIES, play
from lossy_story import Story
from lossy_world import core_config
from service_world import GIB, MIB

from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, GpuBudget, ModelSpec, NetworkSpec, NodeSpec
from maestro.fleet import SpeedCoefficients as Speed
from maestro_services.scheduler.core import CoreConfig
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, URGENCY, DispatchPolicy

SETTINGS = settings(derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def _model(name: str, weights_gib: int, size: int) -> ModelSpec:
    speeds = {"sim": Speed(20_000.0, 100.0, 0.05, 0.5, 0.4)}
    shape = (weights_gib * GIB, 1 << 14, 256 * MIB, GIB // 2, 4096, 4)
    return ModelSpec(name, *shape, speeds, tensor_parallel_size=size)


def fleet() -> Fleet:
    """A node of three accelerators and one of two, of elastic KV: two models take one accelerator, two take two.

    No two of the models fit beside each other anywhere, so that each load has others leave.
    """
    left = tuple(AcceleratorSpec(f"left-{i}", "sim", 4 * GIB, slots=4) for i in range(3))
    right = tuple(AcceleratorSpec(f"right-{i}", "sim", 4 * GIB, 3, kv_elastic=True) for i in range(2))
    nodes = {
        "left": NodeSpec("left-node", left, 8 * GIB, 1e11, 1e11),
        "right": NodeSpec("right-node", right, GIB, 1e11, 1e11),
    }
    models = {m.name: m for m in (_model("writer", 2, 1), _model("critic", 6, 2), _model("judge", 3, 2))}
    clusters = tuple(ClusterSpec(name, (node,)) for name, node in nodes.items())
    return Fleet(clusters, models, NetworkSpec(delay_s=0.01), GpuBudget(5))


def config(dispatch: str | None) -> CoreConfig:
    """A scheduler whose policy decides everything; None: plans give every stage its place."""
    return replace(core_config(fleet()), dispatch=dispatch and DISPATCH_POLICIES[dispatch])


@pytest.mark.parametrize("policy", ["edf", "lru-swap"])
@settings(SETTINGS, max_examples=30)
@given(story=STORIES)
def test_whatever_goes_wrong_models_on_several_accelerators_serve_to_the_end(policy: str, story: Story) -> None:
    play(story, config(policy))


@pytest.mark.parametrize("starts", [None, URGENCY], ids=["stages", "residency"])
@settings(SETTINGS, max_examples=10)
@given(story=STORIES)
def test_the_same_holds_where_plans_decide(starts: DispatchPolicy | None, story: Story) -> None:
    play(story, replace(config(None), starts=starts))
