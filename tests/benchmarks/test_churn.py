"""A plan keeps what the one before it has ordered, as long as nothing has happened in between."""

from __future__ import annotations

import churn
import pytest
from later import moments_later, still_to_do
from replay import Run, replay

from maestro_solver.check import check
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import generate

MOST_CHANGED = 0.05


@pytest.mark.timeout(300)
def test_ten_minutes_of_residency_plans_change_next_to_nothing_without_an_event() -> None:
    """Tests the golden replay: each plan of a run at high contention, made again half a second later."""
    run = Run("residency", seed=1, rate_per_s=0.706, duration_s=600.0)
    figures = churn.figures_of(replay(run, churn.TwicePlanner).pairs)
    assert figures["plans"] > 20
    assert figures["changed_share"] <= MOST_CHANGED


@pytest.mark.parametrize("family", ["small", "contended", "pools"])
def test_plans_of_stages_keep_places_over_ten_minutes_without_an_event(family: str) -> None:
    """Tests the same where plans place stages: a plan is made anew again and again while its stages come to start."""
    config = PlannerConfig(limit_s=0.1, horizon_s=600.0, max_exact_stages=0, deterministic=True)
    snapshot = generate(family, 40, 4, seed=3)
    decisions = changed = 0
    for _ in range(12):
        made = plan(snapshot, config, lambda: 0.0)
        snapshot = moments_later(snapshot, made, 0.5)
        again = plan(snapshot, config, lambda: 0.0)
        assert check(snapshot, again) == ()
        before, after = still_to_do(snapshot, made, 0.5), still_to_do(snapshot, again, 0.0)
        decisions, changed = decisions + len(before), changed + len(before - after)
    assert decisions > 0
    assert changed <= MOST_CHANGED * decisions
