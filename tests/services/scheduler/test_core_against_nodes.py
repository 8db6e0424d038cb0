"""The scheduler's core against nodes in a world that loses messages, kills processes and forgets what is not durable.

Whatever happens, results count once, memory is never overcharged, and once faults cease everything ends and nothing is
left behind.
"""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from lossy_checks import Inspector, assert_at_rest
from lossy_time import START_S
from lossy_world import FAULTS_END_S, SHAPES, Fault, FaultKind, Story, Submission, World

LONGEST_END_S = 400.0
"""Seconds after the last fault by which every workflow has ended; failed loads alone may pause for 120 s."""

SETTLED_S = 20.0

INSTANTS = st.integers(0, int(FAULTS_END_S * 10)).map(lambda tenths: tenths / 10)
SUBMISSIONS = st.builds(
    Submission, INSTANTS, st.sampled_from(sorted(SHAPES)), st.none() | st.sampled_from([0.1, 0.7, 2.0, 5.0])
)
FAULTS = st.builds(
    Fault, INSTANTS, st.sampled_from(list(FaultKind)), st.integers(0, 3), st.sampled_from([0.2, 1.0, 4.0, 9.0])
)
STORIES = st.builds(
    Story,
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from([0.0, 0.02, 0.1, 0.25]),
    faulty=st.sampled_from([0.0, 0.05, 0.2]),
    submissions=st.lists(SUBMISSIONS, min_size=1, max_size=12).map(tuple),
    faults=st.lists(FAULTS, max_size=8).map(tuple),
)


def play(story: Story) -> World:
    """Plays a story to its end: every accepted workflow ends, and nothing is left behind."""
    inspector = Inspector()
    world = World(story, inspector.inspect)
    world.play()
    world.calm_down()
    while world.unended() and world.time.now < START_S + FAULTS_END_S + LONGEST_END_S:
        world.time.run(world.time.now + 1.0)
    assert not world.unended(), f"{world.unended()} did not end"
    world.time.run(world.time.now + SETTLED_S)
    assert_at_rest(world)
    for scheduler in world.schedulers:
        assert scheduler.replay() == scheduler.transitions, "a replay went another way"
    return world


@settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=STORIES)
def test_whatever_goes_wrong_every_workflow_ends_and_nothing_is_left_behind(story: Story) -> None:
    play(story)
