"""How long forecasts take: one stage, and 64 at once, from features to quantiles, and in the scheduler's core.

    python benchmarks/predictor/speed.py --trace validation/*.jsonl.gz

Uses the artefact that ships with Maestro. Each figure is over 200 repetitions, on states that change between them: an
outcome is observed before every forecast, so that nothing is answered from memory. The 64 are calls of as many
workflows, and in the core those of one workflow that become ready together, from their records and texts. The linear
algebra has one thread, as in the scheduler.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from threadpoolctl import threadpool_limits

from maestro.trace import TraceCall, read_traces
from maestro.workflow import ChatMessage, LlmStage, WorkflowSpec
from maestro_services.scheduler.core.acceptance import new_stages
from maestro_services.scheduler.core.events import WorkflowSubmitted
from maestro_services.scheduler.core.lengths import StageCall
from maestro_services.scheduler.core.records import WorkflowRecord
from maestro_services.scheduler.core.trained_lengths import TrainedLengths
from maestro_solver.predictor.call import UpcomingCall, finished, upcoming
from maestro_solver.predictor.forecast import lengths_of
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.stage_predictor import StagePredictor

REPETITIONS = 200

HEAD = "According to the codes {{code.output}} and the comments below, revise part "


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
    return timed(predictor, ended, lambda _: lengths_of(predictor.forecast_many(waiting)))


def in_the_core(predictor: StagePredictor, count: int, ended: TraceCall) -> str:
    """Return the same for ``count`` calls of a workflow, as the scheduler's core has them looked at."""
    lengths = TrainedLengths(predictor)
    workflows = [fan_out(number, count) for number in range(REPETITIONS)]

    def look(number: int) -> None:
        stages = [stage for stage in workflows[number].stages.values() if stage.waiting_for]
        lengths.look_at([StageCall(workflows[number], stage, "m", 300 + 7 * i) for i, stage in enumerate(stages)])

    return timed(predictor, ended, look)


def fan_out(number: int, count: int) -> WorkflowRecord:
    """Return a workflow whose first call has ended and whose others quote it."""
    first = LlmStage("code", "Programmer", ("m",), (ChatMessage("user", "Write it."),), 2000, (), "Coding")
    rest = [
        LlmStage(f"s{i}", "Programmer", ("m",), (ChatMessage("user", f"{HEAD}{i}"),), 2000, ("code",), "Modification")
        for i in range(count)
    ]
    spec = WorkflowSpec("chatdev", (first, *rest))
    event = WorkflowSubmitted(f"w{number}", spec, b"", "")
    workflow = WorkflowRecord(event.workflow_id, spec, "standard", 0.0, 0.0, 1.0, new_stages(event))
    workflow.stages["code"].output = "def f(x):\n    return x\n" * 60
    return workflow


def timed(predictor: StagePredictor, ended: TraceCall, look: Callable[[int], object]) -> str:
    """Return p50 and p99 of ``look``, which is given the number of the repetition."""
    outcome = finished(ended)
    seconds = []
    for number in range(REPETITIONS):
        predictor.observe(predictor.forecast(outcome.call, WorkflowHistory()), outcome)
        started = time.perf_counter()
        look(number)
        seconds.append(time.perf_counter() - started)
    ordered = sorted(1000 * one for one in seconds)
    return f"p50 {statistics.median(ordered):.2f} ms, p99 {ordered[int(0.99 * len(ordered))]:.2f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE")
    calls = read_traces(parser.parse_args().trace)
    threadpool_limits(1, user_api="blas")
    started = time.perf_counter()
    predictor = StagePredictor.load()
    print(f"loading: {1000 * (time.perf_counter() - started):.0f} ms")
    waiting = waiting_calls(calls, 64)
    print(f"one stage: {milliseconds(predictor, waiting[:1], calls[0])} (goal: 1 ms)")
    print(f"{len(waiting)} stages: {milliseconds(predictor, waiting, calls[0])} (goal: 5 ms)")
    for count in (1, 64):
        print(f"{count} in the core: {in_the_core(predictor, count, calls[0])}")


if __name__ == "__main__":
    main()
