"""Builders of results for the tests of the headline figures: as a run gives them, with chosen attainment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.headline.running.cells import Cell, Cells
from benchmarks.headline.running.kept import Kept
from maestro_services.simulation.experiment import Result

RATES = {"1.0": 0.5, "high": 0.7, "2.0": 1.0}


def result(seed: int, attained: float, **changes: object) -> Result:
    """A result of one seed."""
    found: Result = {
        "seed": seed,
        "workflows": 100,
        "attainment": {"overall": attained, "weighted": attained, "by_class": {"standard": attained}},
        "stages": 700,
        "stages_per_s": 900.0,
        "simulated_s": 800.0,
        "kv_reserved_gib_s": 2000.0,
        "kv_used_gib_s": 1500.0,
        "overflow_rate": 0.04,
        "preemptions": 1,
        "swaps": 2,
        "cold_starts": 6,
        "load_s": 300.0,
        "plan_sources": {"cp_sat": 100},
        "fallbacks": {},
        "refusals": 0,
        "failures": 0,
        "solver_cpu_s": 100.0,
        "throughput_tokens_per_s": 5000.0,
        "latency_s": {"standard": {"p50": 20.0, "p90": 60.0, "p99": 90.0}},
    }
    return found | changes


def cells(policies: Mapping[str, float], loads: Sequence[str] = ("1.0", "high", "2.0"), seeds: int = 3) -> Cells:
    """Every policy at every load; attainment is as given, a little more with every seed."""
    return Cells(
        [
            Cell("one_node", "agents", load, RATES[load], policy, _kept(attained, seeds))
            for load in loads
            for policy, attained in policies.items()
        ]
    )


def _kept(attained: float, seeds: int) -> dict[int, Kept]:
    return {11 + index: Kept(result(11 + index, attained + 0.01 * index), "code") for index in range(seeds)}
