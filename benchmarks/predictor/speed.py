"""How long forecasts take: one stage, and 64 stages of as many workflows at once, from features to quantiles.

    python benchmarks/predictor/speed.py --trace validation/*.jsonl.gz

Uses the artefact that ships with Maestro. Each figure is over 200 repetitions, on states that change between them: an
outcome is observed before every forecast, so that nothing is answered from memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from maestro.trace import TraceCall, read_traces
from maestro_solver.predictor.call import UpcomingCall, finished, upcoming
from maestro_solver.predictor.forecast import lengths_of
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.stage_predictor import StagePredictor

REPETITIONS = 200


def waiting_calls(calls: tuple[TraceCall, ...], count: int) -> list[tuple[UpcomingCall, WorkflowHistory]]:
    """Return one call from the middle of each of ``count`` workflows, spread over the trace, with its history."""
    workflows: dict[str, list[TraceCall]] = {}
    for call in calls:
        workflows.setdefault(call.workflow_id, []).append(call)
    waiting = []
    for workflow in list(workflows.values())[:: max(1, len(workflows) // count)][:count]:
        history = WorkflowHistory()
        for call in workflow[: len(workflow) // 2]:
            history.add(finished(call))
        waiting.append((upcoming(workflow[len(workflow) // 2]), history))
    return waiting


def milliseconds(
    predictor: StagePredictor, waiting: list[tuple[UpcomingCall, WorkflowHistory]], ended: TraceCall
) -> str:
    """Return p50 and p99 of forecasting all of ``waiting`` together, to p50, p90 and p95."""
    outcome = finished(ended)
    seconds = []
    for _ in range(REPETITIONS):
        predictor.observe(predictor.forecast(outcome.call, WorkflowHistory()), outcome)
        started = time.perf_counter()
        lengths_of(predictor.forecast_many(waiting))
        seconds.append(time.perf_counter() - started)
    ordered = sorted(1000 * one for one in seconds)
    return f"p50 {statistics.median(ordered):.2f} ms, p99 {ordered[int(0.99 * len(ordered))]:.2f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE")
    calls = read_traces(parser.parse_args().trace)
    started = time.perf_counter()
    predictor = StagePredictor.load()
    print(f"loading: {1000 * (time.perf_counter() - started):.0f} ms")
    waiting = waiting_calls(calls, 64)
    print(f"one stage: {milliseconds(predictor, waiting[:1], calls[0])} (goal: 1 ms)")
    print(f"{len(waiting)} stages: {milliseconds(predictor, waiting, calls[0])} (goal: 5 ms)")


if __name__ == "__main__":
    main()
