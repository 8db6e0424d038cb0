"""How well templates foretell what is still to come in workflows that reveal their stages as they go.

    python benchmarks/predictor/remaining_calls.py --train train/*.jsonl.gz --validation validation/*.jsonl.gz

At every tenth call of each validation workflow, how many calls and output tokens are still to come: the median of what
templates say, and how often the truth lies within their p10 to p90, beside the median of all moments of the app's
workflows. Templates learn from the training traces only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from maestro.trace import TraceCall, read_traces
from maestro_solver.predictor.call import finished
from maestro_solver.predictor.templates import WorkflowTemplates

EVERY = 10


def workflows_of(calls: Iterable[TraceCall]) -> list[list[TraceCall]]:
    """Return the calls of each workflow."""
    workflows: dict[str, list[TraceCall]] = {}
    for call in calls:
        workflows.setdefault(call.workflow_id, []).append(call)
    return list(workflows.values())


def main() -> None:
    """Learn, foretell and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    templates = WorkflowTemplates()
    left_in_training: dict[str, list[int]] = {}
    for workflow in workflows_of(read_traces(arguments.train)):
        templates.observe(workflow[0].app, [finished(call) for call in workflow])
        left_in_training.setdefault(workflow[0].app, []).extend(range(len(workflow)))
    rows: dict[str, list[tuple[float, float, float, float, float]]] = {}
    for workflow in workflows_of(read_traces(arguments.validation)):
        app = workflow[0].app
        for done in range(0, len(workflow), EVERY):
            following = templates.following(app, [(call.role, call.phase) for call in workflow[:done]])
            if following is None:
                continue
            left = len(workflow) - done
            tokens = sum(call.completion_tokens for call in workflow[done:])
            least, middle, most = np.quantile(following.calls, (0.1, 0.5, 0.9))
            naive = float(np.median(left_in_training[app]))
            off_tokens = abs(float(np.median(following.output_tokens)) - tokens)
            rows.setdefault(app, []).append(
                (abs(middle - left), abs(naive - left), float(least <= left <= most), off_tokens, tokens)
            )
    print(f"{'app':<24}{'moments':>8}{'calls off':>11}{'naive off':>11}{'in p10-p90':>12}{'tokens off':>12}{'of':>10}")
    for app, found in rows.items():
        off, naive, within, off_tokens, tokens = np.mean(found, axis=0)
        print(f"{app:<24}{len(found):>8}{off:>11.1f}{naive:>11.1f}{within:>12.1%}{off_tokens:>12.0f}{tokens:>10.0f}")


if __name__ == "__main__":
    main()
