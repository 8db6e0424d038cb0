"""The other solvers' models of instances that they can express."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from peer_models import full_model, time_indexed
from peer_models.fixed_residency import with_fixed_residency
from peer_models.placement import as_plan, places_of

from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import FORMAT, plan_document, read_instance
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.problem import cost


def values() -> dict[str, Any]:
    """Three chains of two stages on two accelerators with two slots in all; beta is resident nowhere."""
    stages = [
        {
            "name": f"{workflow}{position}",
            "workflow": workflow,
            "model": "beta" if position else "alpha",
            "duration_s": 2.0,
            "kv_gib": 1.0,
            "predecessors": [f"{workflow}0"] if position else [],
        }
        for workflow in "uvw"
        for position in range(2)
    ]
    return {
        "format": FORMAT,
        "tick_s": 1.0,
        "network_delay_s": 1.0,
        "load_gib_per_s": 2.0,
        "weights": {"late": 20.0, "tardy": 1.0, "tardy_cap_s": 4.0, "latency": 0.5, "swap": 1.0},
        "models": [{"name": "alpha", "weights_gib": 4.0}, {"name": "beta", "weights_gib": 6.0}],
        "accelerators": [
            {"name": "a", "cluster": "c", "memory_gib": 12.0, "slots": 1, "resident": ["alpha"]},
            {"name": "b", "cluster": "d", "memory_gib": 12.0, "slots": 1, "resident": []},
        ],
        "workflows": [{"name": name, "deadline_s": 6.0, "weight": 1.0} for name in "uvw"],
        "stages": stages,
    }


def test_what_is_nowhere_becomes_resident_where_least_is_to_do() -> None:
    """Tests that every stage has a place without a load, and that the original stays as it was."""
    given = values()
    fixed = with_fixed_residency(given)
    assert [accelerator["resident"] for accelerator in fixed["accelerators"]] == [["alpha"], ["beta"]]
    assert given == values()
    problem = problem_from_document(read_instance(fixed))
    assert [places_of(problem, stage) for stage in range(6)] == [[0], [1]] * 3


@pytest.mark.parametrize("peer", ["time_indexed", "full_model", "job_shop"])
def test_every_peer_finds_the_optimum_of_a_tiny_instance(peer: str) -> None:
    """Tests the optimum known by hand: completions at 4, 6 and 8 s, the last one late by 2 s."""
    if peer == "job_shop":
        pytest.importorskip("pyjobshop", reason="an optional peer")
    document = read_instance(with_fixed_residency(values()))
    problem = problem_from_document(document)
    if peer == "time_indexed":
        answer = time_indexed.solve(problem, 20.0, 1, horizon=12)
    elif peer == "full_model":
        answer = full_model.solve(problem, 20.0, 1)
    else:
        answer = importlib.import_module("peer_models.job_shop").solve(problem, 20.0, 1)
    plan = answer.plan if answer.places is None else as_plan(problem, answer.places)
    assert plan is not None
    assert violations(document, plan_document(problem, plan)) == []
    assert cost(problem, plan).objective == pytest.approx(20.0 + 2.0 + 0.5 * (4 + 6 + 8))
