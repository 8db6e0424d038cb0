"""When a stage's first token came is known once it has succeeded, and stays known."""

from __future__ import annotations

import pytest
from core_driver import Driver
from service_world import diamond

from maestro.status import TokenUsage
from maestro_services.scheduler.core import events as on


@pytest.mark.parametrize(("after_s", "seen"), [(0.3, True), (None, False)])
def test_the_first_token_of_the_attempt_that_succeeded_is_dated(after_s: float | None, seen: bool) -> None:
    """Tests a node that tells it, and one that does not."""
    driver = Driver()
    driver.bring_up()
    driver.submit(diamond())
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    started_s = driver.now
    assert driver.stage("first").first_token_at_s is None
    driver.now += 1.0
    driver.post(on.AttemptFinished(attempt.key, attempt.attempt_id, "x", "stop", TokenUsage(9, 9), 1.0, after_s))
    assert driver.stage("first").first_token_at_s == (pytest.approx(started_s + 0.3) if seen else None)
