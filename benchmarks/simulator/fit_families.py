"""Fits the synthetic families to traces: ``python -m benchmarks.simulator.fit_families TRACE ...``.

Writes the quantiles of prompt and output lengths of every app and role with enough calls, and nothing else of the
traces, to the file that the simulator reads.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from maestro.trace import read_traces
from maestro_services.simulation.workload.families import LENGTHS_FILE

QUANTILES = 41
FEWEST_CALLS = 300


def main(paths: list[str]) -> None:
    """Fit and write."""
    by_role: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for call in read_traces(Path(path) for path in paths):
        if call.completion_tokens > 0:
            by_role[call.app, call.role].append((call.prompt_tokens, call.completion_tokens))
    shares = np.linspace(0.0, 1.0, QUANTILES)
    fitted = {
        f"{app}/{role}": {
            "calls": len(lengths),
            "prompt": [round(value) for value in np.quantile([prompt for prompt, _ in lengths], shares)],
            "output": [round(value) for value in np.quantile([output for _, output in lengths], shares)],
        }
        for (app, role), lengths in sorted(by_role.items())
        if len(lengths) >= FEWEST_CALLS
    }
    LENGTHS_FILE.write_text(json.dumps(fitted, indent=1) + "\n")
    print(f"{len(fitted)} roles written to {LENGTHS_FILE}")


if __name__ == "__main__":
    main(sys.argv[1:])
