"""Room where KV is elastic and loads take their time: nobody is chased off before its turn, or waits for ever."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from elastic_node import FULL_BYTES, Elastic, elastic_fleet, large, small
from service_world import MIB, call, model

from maestro.workflow import ChatMessage, WorkflowSpec
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.clearing import PATIENCE_S

LOAD_S = 4.0
without_places = pytest.mark.parametrize("mode", ["edf", "plans of residency"])


@dataclass
class Slow(Elastic):
    """The node, with loads beside which time goes on. ``loads`` counts those that were begun."""

    loading: list[tuple[float, do.LoadReplica]] = field(default_factory=list)
    loads: int = 0

    def answer(self) -> None:
        """Begins loads, ends those that are due, and takes all other commands."""
        for effect in self.driver.take(do.LoadReplica):
            assert isinstance(effect, do.LoadReplica)
            self.loading.append((self.driver.now + LOAD_S, effect))
            self.loads += 1
        for due in [due for due in self.loading if due[0] <= self.driver.now]:
            self.loading.remove(due)
            self.ready(due[1])
        super().answer()


def slow(mode: str, memory_bytes: int = FULL_BYTES, attempt_s: float = 1.0) -> Slow:
    """Both models resident and idle, and nothing loaded or evicted since."""
    names = ("writer", "critic")
    fleet = elastic_fleet(memory_bytes, models=tuple(model(name, start_s=LOAD_S) for name in names))
    world = Slow.of(mode, fleet, unload_s=0.5, attempt_s=attempt_s)
    assert isinstance(world, Slow)
    for name in names:
        world.driver.submit(small(name), f"warm-{name}")
        world.go_on(15.0)
    assert len(world.resident) == 2
    world.loads = 0
    world.evicted.clear()
    return world


@without_places
def test_a_model_that_was_loaded_for_a_stage_stays_until_the_stage_has_run(mode: str) -> None:
    """Tests that more urgent stages of another model, which need its room, do not come first for ever."""
    world = slow(mode)
    urgent = replace(large("writer"), deadline_after_s=50.0)
    world.driver.submit(urgent, "first")
    world.driver.submit(replace(large("critic"), deadline_after_s=100_000.0), "patient")
    for index in range(30):
        world.driver.submit(urgent, f"next-{index}")
        world.go_on(2.0)
    assert world.ended("patient")


@pytest.mark.parametrize("mode", ["edf", "plans of residency", "plans of stages"])
def test_no_load_comes_between_stages_that_need_the_same_room(mode: str) -> None:
    """Tests that a model that is wanted at the end of a workflow alone is loaded once, whatever plans say."""
    world = slow(mode, attempt_s=2.0)
    prompt = (ChatMessage("user", "word " * 1500),)
    chain = [
        replace(call(f"s{at}", *([f"s{at - 1}"] if at else []), models=("writer",)), messages=prompt) for at in range(6)
    ]
    stages = (*chain, call("end", "s5", models=("critic",)))
    world.driver.submit(WorkflowSpec("essays", stages, deadline_after_s=600.0))
    world.go_on(60.0)
    assert world.driver.core.active_workflows() == 0
    assert (world.loads, world.evicted) == (1, [("gpu-0", "critic")])


@without_places
def test_a_stage_gets_its_room_from_a_model_that_always_has_something_to_do(mode: str) -> None:
    """Tests that others begin nothing more there once it has waited for long, so that they fall idle and leave."""
    world = slow(mode, FULL_BYTES + 26 * MIB, attempt_s=3.0)
    for index in range(int(PATIENCE_S) + 30):
        if index == 10:
            world.driver.submit(large("writer"), "patient")
        for at in range(2):
            world.driver.submit(replace(small("critic"), deadline_after_s=3000.0), f"busy-{index}-{at}")
        world.go_on(1.0)
    assert world.ended("patient")
