"""Tests that capacity plans are as good as the best of all assignments, found by trying every one."""

import itertools
from collections.abc import Iterator

import numpy as np
from capacity_cases import fleet, model, problem, speed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from maestro_solver.capacity import CapacityProblem, CapacityStatus, Demand, solve, violations

Held = tuple[tuple[str, int], ...]
"""What an accelerator holds: models, each with its batch."""

demands = st.builds(
    Demand,
    name=st.uuids().map(str),
    model=st.sampled_from(["m", "o"]),
    requests_per_s=st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0]),
    prompt_tokens=st.just(0),
    output_tokens=st.sampled_from([5, 10, 30]),
    max_latency_s=st.sampled_from([0.8, 1.5, 3.0, 20.0]),
    weight=st.sampled_from([1.0, 2.0]),
)
models = st.tuples(
    st.sampled_from([400, 600]),
    st.sampled_from([20, 60, 100]),
    st.sampled_from([0.2, 0.8]),
    st.sampled_from([0.2, 1.0]),
)


def built(sizes: list[tuple[int, int, float, float]], asked: list[Demand]) -> CapacityProblem:
    first, second = (
        model(
            name,
            weights,
            kv_pool_bytes=pool,
            max_batch=2,
            speeds={"gpu": speed(batch_slope=batch_slope, colocation_slope=colocation_slope)},
        )
        for name, (weights, pool, batch_slope, colocation_slope) in zip("mo", sizes, strict=True)
    )
    return problem(fleet(first, second, slots=3), *asked, utilisation=0.9)


def possible(case: CapacityProblem) -> Iterator[Held]:
    """Everything that one accelerator of 1000 bytes and 3 slots can hold."""
    options = [[None, *((name, batch) for batch in (1, 2))] for name in ("m", "o")]
    for chosen in itertools.product(*options):
        held = tuple(one for one in chosen if one is not None)
        taken = sum(case.fleet.models[name].weights_bytes + case.fleet.models[name].kv_pool_bytes for name, _ in held)
        if taken <= 1000 and sum(batch for _, batch in held) <= 3:
            yield held


def capacity(case: CapacityProblem, asked: Demand, name: str, batch: int, active: int) -> float:
    """Requests of ``asked`` that a replica serves each second, 0 where it cannot."""
    spec = case.fleet.models[name]
    coefficients = spec.speeds["gpu"]
    seconds = asked.output_tokens / coefficients.decode_tokens_per_s
    seconds *= (1 + coefficients.batch_slope * (batch - 1)) * (1 + coefficients.colocation_slope) ** (active - 1)
    if asked.model != name or seconds > asked.max_latency_s:
        return 0.0
    return case.utilisation * min(batch, spec.kv_pool_bytes // asked.output_tokens) / seconds


def most_served(case: CapacityProblem, accelerators: tuple[Held, ...]) -> float:
    """The most weighted demand that these replicas serve, by linear programming over how requests are spread."""
    replicas = [(name, batch, len(held)) for held in accelerators for name, batch in held]
    rates = {
        (r, d): rate
        for r, replica in enumerate(replicas)
        for d, asked in enumerate(case.demands)
        if (rate := capacity(case, asked, *replica)) > 0
    }
    if not rates:
        return 0.0
    limits = np.zeros((len(replicas) + len(case.demands), len(rates)))
    for column, ((r, d), rate) in enumerate(rates.items()):
        limits[r, column] = case.demands[d].requests_per_s / rate
        limits[len(replicas) + d, column] = 1.0
    worth = [-case.demands[d].weight for _, d in rates]
    return -float(linprog(worth, A_ub=limits, b_ub=np.ones(len(limits)), bounds=(0, 1)).fun)


def small(name: str, model: str, weight: float) -> Demand:
    return Demand(name, model, requests_per_s=0.5, prompt_tokens=0, output_tokens=5, max_latency_s=0.8, weight=weight)


@settings(max_examples=30, deadline=None)
@example([(400, 20, 0.2, 0.2), (400, 20, 0.2, 1.0)], [small("b", "m", 2.0), small("c", "o", 1.0)])
@given(st.lists(models, min_size=2, max_size=2), st.lists(demands, min_size=1, max_size=3, unique_by=lambda d: d.name))
def test_plans_are_as_good_as_the_best_assignment(
    sizes: list[tuple[int, int, float, float]], asked: list[Demand]
) -> None:
    case = built(sizes, asked)
    best = [
        max(most_served(case, held) for held in itertools.combinations_with_replacement(list(possible(case)), budget))
        for budget in (0, 1, 2)
    ]
    everything = sum(one.weight for one in asked)
    for budget in (0, 1, 2):
        plan = solve(case, budget, 20.0)
        assert violations(case, plan) == ()
        assert abs(plan.objective - best[budget]) < 1e-4
        complete = best[budget] > everything - 1e-6
        assert plan.status is (CapacityStatus.OPTIMAL if complete else CapacityStatus.INFEASIBLE)
        fewest = next(count for count in (0, 1, 2) if best[count] > best[budget] - 1e-5)
        assert plan.accelerators_used == fewest
        if plan.shortfall is not None:
            enough = [count for count in (1, 2) if best[count] > everything - 1e-6]
            assert plan.shortfall.least_accelerators == (enough[0] if enough else None)
