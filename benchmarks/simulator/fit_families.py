"""Fits the synthetic families to traces, and says how well they fit.

    python -m benchmarks.simulator.fit_families TRACE ...
    python -m benchmarks.simulator.fit_families --check TRACE ...

The first writes the quantiles of prompt and output lengths of every app and role with enough calls, and nothing else of
the traces, to the file that the simulator reads. The second draws from that file as the families do and prints the
Kolmogorov-Smirnov distance of each role's lengths to the trace's, or, of traces that hold arrival times, the distance
of each arrival process's gaps to the recorded ones. A distance is the largest difference of two distribution functions:
0 for equal ones, 1 for ones without anything in common.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import ks_2samp

from maestro.trace import TraceCall, read_traces
from maestro_services.simulation.workload.arrivals import Process, arrivals
from maestro_services.simulation.workload.families import LENGTHS_FILE, draw

QUANTILES = 41
FEWEST_CALLS = 300
FEWEST_CHECKED = 50
"""Calls of a role below which a distance says more of chance than of the fit."""

Lengths = dict[tuple[str, str], list[tuple[int, int]]]
"""Prompt and output tokens by app and role."""


def main() -> None:
    """Fit and write, or check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--check", action="store_true", help="say how well the file that is there fits these traces")
    options = parser.parse_args()
    calls = read_traces(options.traces)
    if options.check:
        Console(width=120).print(length_table(calls, json.loads(LENGTHS_FILE.read_text())), arrival_table(calls))
        return
    fitted = fit(calls)
    LENGTHS_FILE.write_text(json.dumps(fitted, indent=1) + "\n")
    print(f"{len(fitted)} roles written to {LENGTHS_FILE}")


def fit(calls: Iterable[TraceCall]) -> dict[str, dict[str, object]]:
    """Quantiles at equal distances, from the least to the largest, of every app and role with enough calls."""
    shares = np.linspace(0.0, 1.0, QUANTILES)
    return {
        f"{app}/{role}": {
            "calls": len(lengths),
            "prompt": [round(value) for value in np.quantile([prompt for prompt, _ in lengths], shares)],
            "output": [round(value) for value in np.quantile([output for _, output in lengths], shares)],
        }
        for (app, role), lengths in sorted(_by_role(calls).items())
        if len(lengths) >= FEWEST_CALLS
    }


def distances(lengths: Sequence[tuple[int, int]], fitted: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """How far prompts and outputs drawn from what was fitted are from the recorded ones, of which there are as many."""
    random = Random("fit")
    found = []
    for index, name in enumerate(("prompt", "output")):
        drawn = [draw(fitted[name], random) for _ in lengths]
        found.append(float(ks_2samp([pair[index] for pair in lengths], drawn, method="asymp").statistic))
    return found[0], found[1]


def gap_distances(instants: Sequence[float]) -> dict[Process, float]:
    """How far the gaps of each arrival process, at the recorded rate, are from the recorded ones."""
    recorded = np.diff(np.sort(instants))
    rate_per_s = 1.0 / float(np.mean(recorded))
    return {process: _gap_distance(recorded, process, rate_per_s) for process in Process}


def _gap_distance(recorded: Sequence[float], process: Process, rate_per_s: float) -> float:
    drawn = np.diff(list(islice(arrivals(process, rate_per_s, Random("fit")), len(recorded) + 1)))
    return float(ks_2samp(recorded, drawn, method="asymp").statistic)


def length_table(calls: Iterable[TraceCall], fitted: Mapping[str, Mapping[str, Sequence[int]]]) -> Table:
    """A line for each role of the trace that was fitted and has enough calls in it."""
    table = Table("app / role", "calls", "prompt", "output", title="KS distance of lengths", title_justify="left")
    for (app, role), lengths in sorted(_by_role(calls).items()):
        known = fitted.get(f"{app}/{role}")
        if known is not None and len(lengths) >= FEWEST_CHECKED:
            prompt, output = distances(lengths, known)
            table.add_row(f"{app} / {role}", f"{len(lengths):,}", f"{prompt:.3f}", f"{output:.3f}")
    return table


def arrival_table(calls: Iterable[TraceCall]) -> Table:
    """A line for each app whose arrivals were recorded."""
    table = Table("app", "arrivals", "variation", *Process, title="KS distance of gaps", title_justify="left")
    instants: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        if call.arrival_s is not None:
            instants[call.app].append(call.arrival_s)
    for app, found in sorted(instants.items()):
        gaps = np.diff(np.sort(found))
        variation = float(np.std(gaps) / np.mean(gaps))
        table.add_row(
            app, f"{len(found):,}", f"{variation:.1f}", *(f"{gap:.3f}" for gap in gap_distances(found).values())
        )
    return table


def _by_role(calls: Iterable[TraceCall]) -> Lengths:
    by_role: Lengths = defaultdict(list)
    for call in calls:
        if call.completion_tokens > 0:
            by_role[call.app, call.role].append((call.prompt_tokens, call.completion_tokens))
    return by_role


if __name__ == "__main__":
    main()
