"""What a planner is charged: time that a seed decides, never the wall clock."""

from __future__ import annotations

import time

import pytest
from simulated_world import experiment

from maestro_services.scheduler.settings import settings_of
from maestro_services.simulation.experiment import run
from maestro_services.simulation.policies import policy_named


def test_a_planner_of_residency_is_charged_its_whole_limit_for_each_plan() -> None:
    small = experiment(rate_per_s=0.1, duration_s=40.0)
    result = run(small, policy_named("planner"), 1)
    plans = round(result["solver_cpu_s"] / settings_of(small.scenario).planner.limit_s)
    assert result["solver_cpu_s"] == pytest.approx(plans * settings_of(small.scenario).planner.limit_s)
    assert plans >= sum(result["plan_sources"].values()) > 0


def test_policies_without_plans_are_charged_nothing() -> None:
    result = run(experiment(duration_s=60.0), policy_named("edf"), 1)
    assert (result["solver_cpu_s"], result["plan_sources"], result["fallbacks"]) == (0.0, {}, {})


def test_a_slow_clock_changes_nothing_but_the_simulators_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = experiment(rate_per_s=0.1, duration_s=30.0)
    first = run(small, policy_named("planner"), 1)
    real = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 1000.0 * real())
    second = run(small, policy_named("planner"), 1)
    assert first.pop("stages_per_s") != second.pop("stages_per_s")
    assert first == second
