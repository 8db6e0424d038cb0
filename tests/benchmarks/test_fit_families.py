"""The fit of synthetic families: close to what it was made from, and seen to be far where it is."""

from __future__ import annotations

from itertools import islice
from random import Random

import numpy as np

from benchmarks.simulator.fit_families import FEWEST_CALLS, arrival_table, distances, fit, gap_distances, length_table
from maestro.trace import TraceCall
from maestro_services.simulation.workload.arrivals import Process, arrivals


def calls(count: int, role: str, mean: float, seed: int) -> list[TraceCall]:
    """Calls with log-normal lengths."""
    generator = np.random.default_rng(seed)
    lengths = np.round(generator.lognormal(mean, 0.8, (count, 2))).astype(int) + 1
    return [
        TraceCall(
            workflow_id=f"w{index}", app="essays", step=0, role=role, phase="", model="", prompt_tokens=int(prompt),
            completion_tokens=int(output), parents=(), arrival_s=float(index),
        )
        for index, (prompt, output) in enumerate(lengths)
    ]  # fmt: skip


def lengths(found: list[TraceCall]) -> list[tuple[int, int]]:
    return [(call.prompt_tokens, call.completion_tokens) for call in found]


def test_lengths_drawn_from_a_fit_are_close_to_what_it_was_made_from() -> None:
    seen = calls(2000, "writer", 5.0, seed=1)
    (fitted,) = fit(seen).values()
    assert max(distances(lengths(seen), fitted)) < 0.05  # type: ignore[arg-type]


def test_lengths_of_the_same_source_unseen_by_the_fit_are_close_too() -> None:
    (fitted,) = fit(calls(2000, "writer", 5.0, seed=1)).values()
    assert max(distances(lengths(calls(2000, "writer", 5.0, seed=2)), fitted)) < 0.08  # type: ignore[arg-type]


def test_lengths_of_another_source_are_seen_to_be_far() -> None:
    (fitted,) = fit(calls(2000, "writer", 5.0, seed=1)).values()
    assert min(distances(lengths(calls(2000, "writer", 6.5, seed=2)), fitted)) > 0.4  # type: ignore[arg-type]


def test_roles_with_few_calls_are_not_fitted() -> None:
    found = fit([*calls(FEWEST_CALLS, "writer", 5.0, seed=1), *calls(FEWEST_CALLS - 1, "critic", 5.0, seed=1)])
    assert set(found) == {"essays/writer"}


def test_the_process_that_arrivals_were_drawn_from_is_the_nearest() -> None:
    for process in (Process.POISSON, Process.BURSTY):
        found = gap_distances(list(islice(arrivals(process, 3.0, Random(7)), 3000)))
        assert min(found, key=lambda name: found[name]) in {process, Process.DIURNAL}
        assert found[process] < 0.05


def test_the_tables_hold_a_line_a_role_and_a_line_an_app() -> None:
    seen = calls(400, "writer", 5.0, seed=1)
    assert length_table(seen, fit(seen)).row_count == 1  # type: ignore[arg-type]
    assert arrival_table(seen).row_count == 1
