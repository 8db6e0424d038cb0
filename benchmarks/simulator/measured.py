"""What a run took, real or simulated, and how far two runs of one workload are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from maestro.trace import TraceCall

LATENCIES = ("workflow latency", "stage latency", "time to first token")
THROUGHPUT = "throughput"

Item = tuple[int, ...]
"""A workflow by its rank of arrival, or one of its calls by rank and step."""


@dataclass(slots=True)
class Measured:
    """Seconds of every workflow and call of a run, by metric, and its output tokens a second.

    A workflow's latency counts from its arrival; a call's, and the time to its first token, from when its parents had
    ended.
    """

    seconds: dict[str, dict[Item, float]] = field(default_factory=lambda: {name: {} for name in LATENCIES})
    tokens_per_s: float = 0.0

    def count_call(self, item: Item, ready_s: float, first_token_s: float, end_s: float) -> None:
        """A call and its instants."""
        self.seconds["stage latency"][item] = end_s - ready_s
        self.seconds["time to first token"][item] = first_token_s - ready_s


def measured(calls: Iterable[TraceCall], wanted: Mapping[str, int]) -> Measured:
    """What a trace tells of some of its workflows, which are given with their ranks of arrival."""
    found, tokens = Measured(), 0
    first_s, last_s = float("inf"), 0.0
    for call in calls:
        rank = wanted.get(call.workflow_id)
        instants = (call.arrival_s, call.start_s, call.ready_s, call.first_token_s, call.latency_s)
        if rank is None or any(instant is None for instant in instants):
            continue
        arrival_s, start_s, ready_s, first_token_s, latency_s = (instant or 0.0 for instant in instants)
        end_s = start_s + latency_s
        found.count_call((rank, call.step), ready_s, first_token_s, end_s)
        workflows = found.seconds["workflow latency"]
        workflows[rank,] = max(workflows.get((rank,), 0.0), end_s)
        first_s, last_s = min(first_s, arrival_s), max(last_s, arrival_s + end_s)
        tokens += call.completion_tokens
    found.tokens_per_s = tokens / (last_s - first_s) if last_s > first_s else 0.0
    return found


def compared(real: Measured, other: Measured) -> dict[str, dict[str, float]]:
    """How far ``other`` is from ``real``, by metric.

    ``mean_error`` and ``p99_error`` are those of the mean and the 99th percentile, as shares of the real ones;
    ``each_mean`` and ``each_p99`` are mean and 99th percentile of the error of every single workflow or call.
    """
    found = {}
    for name in LATENCIES:
        items = sorted(real.seconds[name].keys() & other.seconds[name].keys())
        ours = np.array([real.seconds[name][item] for item in items])
        theirs = np.array([other.seconds[name][item] for item in items])
        each = np.abs(theirs / ours - 1.0)
        found[name] = {
            "items": float(len(items)),
            "real_mean": float(ours.mean()),
            "other_mean": float(theirs.mean()),
            "mean_error": abs(float(theirs.mean() / ours.mean()) - 1.0),
            "real_p99": float(np.percentile(ours, 99)),
            "other_p99": float(np.percentile(theirs, 99)),
            "p99_error": abs(float(np.percentile(theirs, 99) / np.percentile(ours, 99)) - 1.0),
            "each_mean": float(each.mean()),
            "each_p99": float(np.percentile(each, 99)),
        }
    found[THROUGHPUT] = {
        "real_mean": real.tokens_per_s,
        "other_mean": other.tokens_per_s,
        "mean_error": abs(other.tokens_per_s / real.tokens_per_s - 1.0),
    }
    return found


def averaged(comparisons: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean of every figure over several comparisons."""
    return {
        metric: {name: float(np.mean([one[metric][name] for one in comparisons])) for name in figures}
        for metric, figures in comparisons[0].items()
    }
