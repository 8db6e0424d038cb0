"""Plays histories of the lossy world to their end, and says which there are to draw from."""

from __future__ import annotations

import hypothesis.strategies as st
from lossy_checks import Inspector, assert_at_rest
from lossy_story import FAULTS_END_S, FOREVER_S, SHAPES, Fault, FaultKind, Story, Submission
from lossy_world import World

from maestro.status import WorkflowState
from maestro_services.scheduler.core import CoreConfig

LONGEST_END_S = 60.0
"""Seconds after the last fault by which every workflow has ended; loads that failed pause for some of them."""

SETTLED_S = 30.0
"""Seconds after the last workflow has ended by which nothing is left of it, loads that were planned included."""

INSTANTS = st.integers(0, int(FAULTS_END_S * 10)).map(lambda tenths: tenths / 10)
SUBMISSIONS = st.builds(
    Submission, INSTANTS, st.sampled_from(sorted(SHAPES)), st.none() | st.sampled_from([0.1, 0.7, 2.0, 5.0])
)
FAULTS = st.builds(
    Fault,
    INSTANTS,
    st.sampled_from(list(FaultKind)),
    st.integers(0, 3),
    st.sampled_from([0.2, 1.0, 4.0, 9.0, FOREVER_S]),
)
STORIES = st.builds(
    Story,
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from([0.0, 0.02, 0.1, 0.25]),
    faulty=st.sampled_from([0.0, 0.05, 0.2]),
    submissions=st.lists(SUBMISSIONS, min_size=1, max_size=20).map(tuple),
    faults=st.lists(FAULTS, max_size=12).map(tuple),
)


def run_to_the_end(world: World, within_s: float) -> None:
    """Every accepted workflow ends in time, and nothing is left of it."""
    until_s = world.time.now + within_s
    while world.unended() and world.time.now < until_s:
        world.time.run(world.time.now + 1.0)
    assert not world.unended(), f"{world.unended()} did not end"
    world.time.run(world.time.now + SETTLED_S)
    assert_at_rest(world)


def run_in_the_calm(world: World) -> None:
    """What is submitted once all is well runs as if nothing had ever gone wrong."""
    refusals = world.network.refusals
    for shape in sorted(SHAPES) * 2:
        world.submit(f"calm{len(world.store.accepted)}", Submission(0.0, shape, None))
        world.time.run(world.time.now + 0.3)
    run_to_the_end(world, LONGEST_END_S)
    assert world.network.refusals == refusals, "a node refused a command"
    for (workflow_id, stage_id), result in world.store.results.items():
        if workflow_id.startswith("calm"):
            assert result.status.attempts <= 1, f"{workflow_id}/{stage_id} took {result.status.attempts} attempts"
    assert all(end.status.state is WorkflowState.SUCCEEDED for name, end in world.store.ended.items() if "calm" in name)


def play(story: Story, config: CoreConfig | None = None) -> World:
    """Plays a story to its end, and one more in the calm after it."""
    world = World(story, Inspector().inspect, config)
    world.play()
    world.calm_down()
    run_to_the_end(world, LONGEST_END_S)
    run_in_the_calm(world)
    for scheduler in world.schedulers:
        assert scheduler.replay() == scheduler.transitions, "a replay went another way"
    return world
