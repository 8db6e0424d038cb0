"""The scheduler's core against nodes in a world that loses messages, kills processes and forgets what is not durable.

Whatever happens, results count once, memory is never overcharged, and once faults cease everything ends and nothing is
left behind.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from lossy_play import STORIES, play
from lossy_story import Story


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=STORIES)
def test_whatever_goes_wrong_every_workflow_ends_and_nothing_is_left_behind(story: Story) -> None:
    play(story)
