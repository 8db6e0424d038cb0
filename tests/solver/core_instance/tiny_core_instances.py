"""Core instances so small that all their plans can be enumerated, and a generator of ordinary small ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import FORMAT, InstanceDocument, plan_document, read_instance
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.problem import CorePlan, CoreProblem, cost

WEIGHTS = {"late": 20.0, "tardy": 1.0, "tardy_cap_s": 4.0, "latency": 0.5, "swap": 1.0}
LATEST_START = 5


def document_of(values: dict[str, Any]) -> InstanceDocument:
    """The instance with the format's fixed parts filled in."""
    fixed = {"format": FORMAT, "tick_s": 1.0, "network_delay_s": 1.0, "load_gib_per_s": 2.0, "weights": WEIGHTS}
    return read_instance(fixed | values)


@st.composite
def tiny_documents(draw: st.DrawFn, stages: int = 2) -> InstanceDocument:
    """Two models, two accelerators in two clusters, and a few stages in one or two workflows."""
    models = [{"name": f"m{i}", "weights_gib": draw(st.sampled_from([2.0, 4.0]))} for i in range(2)]
    accelerators = [
        {
            "name": f"a{i}",
            "cluster": f"c{i}",
            "memory_gib": draw(st.sampled_from([6.0, 8.0])),
            "slots": draw(st.integers(1, 2)),
            "resident": draw(st.sampled_from([[], ["m0"], ["m1"]])),
        }
        for i in range(2)
    ]
    rows: list[dict[str, Any]] = []
    for i in range(stages):
        workflow = f"w{draw(st.integers(0, 1))}"
        before = [row["name"] for row in rows if row["workflow"] == workflow]
        rows.append(
            {
                "name": f"s{i}",
                "workflow": workflow,
                "model": draw(st.sampled_from(["m0", "m1"])),
                "duration_s": float(draw(st.integers(1, 3))),
                "kv_gib": draw(st.sampled_from([0.5, 1.0, 2.0])),
                "predecessors": before[-1:] if draw(st.booleans()) else [],
            }
        )
    names = sorted({row["workflow"] for row in rows})
    workflows = [
        {"name": name, "deadline_s": float(draw(st.integers(0, 8))), "weight": draw(st.sampled_from([1.0, 4.0]))}
        for name in names
    ]
    return document_of({"models": models, "accelerators": accelerators, "workflows": workflows, "stages": rows})


def busy_document(workflows: int, seed: int) -> InstanceDocument:
    """Workflows of three to five stages in a chain over three models, on two accelerators that cannot hold all."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for workflow in range(workflows):
        rows += [
            {
                "name": f"w{workflow}.s{position}",
                "workflow": f"w{workflow}",
                "model": f"m{random.integers(3)}",
                "duration_s": float(random.integers(2, 12)),
                "kv_gib": float(random.integers(1, 5)),
                "predecessors": [f"w{workflow}.s{position - 1}"] if position else [],
            }
            for position in range(int(random.integers(3, 6)))
        ]
    return document_of(
        {
            "models": [{"name": f"m{i}", "weights_gib": weights} for i, weights in enumerate([4.0, 8.0, 14.0])],
            "accelerators": [
                {"name": f"a{i}", "cluster": f"c{i}", "memory_gib": 20.0, "slots": 4, "resident": [f"m{i}"]}
                for i in range(2)
            ],
            "workflows": [
                {"name": f"w{i}", "deadline_s": float(random.integers(15, 60)), "weight": float(random.choice([1, 4]))}
                for i in range(workflows)
            ],
            "stages": rows,
        }
    )


def cheapest_by_enumeration(document: InstanceDocument) -> float:
    """What the best of all plans costs that start every stage by ``LATEST_START`` and load no pair twice.

    Two stages never need more.
    """
    problem = problem_from_document(document)
    places = itertools.product(range(problem.accelerators), range(LATEST_START + 1))
    objectives = [
        cost(problem, plan).objective
        for chosen in itertools.product(list(places), repeat=problem.stages)
        for plan in _with_every_residency(problem, chosen)
        if not violations(document, plan_document(problem, plan))
    ]
    return min(objectives)


def _with_every_residency(problem: CoreProblem, chosen: tuple[tuple[int, int], ...]) -> Iterator[CorePlan]:
    """The plans with those accelerators and starts, and every way to have the models there."""
    start = np.array([begin for _, begin in chosen])
    accelerator = np.array([where for where, _ in chosen])
    used = sorted({(int(problem.stage_model[stage]), where) for stage, (where, _) in enumerate(chosen)})
    resident = {(int(model), int(where)) for where, model in np.argwhere(problem.initially_resident)}
    loads = [[None] if pair in resident else list(range(LATEST_START)) for pair in used]
    for load_starts in itertools.product(*loads):
        rows = []
        for pair, load_start in zip(used, load_starts, strict=True):
            inside = (problem.stage_model == pair[0]) & (accelerator == pair[1])
            end = int((start + problem.stage_duration)[inside].max())
            begin = 0 if load_start is None else load_start
            ready = begin if load_start is None else begin + int(problem.model_load[pair[0]])
            rows.append((pair[1], pair[0], begin, max(end, ready), load_start is None))
        rows += [(where, model, 0, 0, True) for model, where in resident - set(used)]
        columns = np.array(rows, dtype=np.int64).T
        yield CorePlan(accelerator, start, *columns[:4], columns[4].astype(bool))
