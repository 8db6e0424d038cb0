"""How long a trace of a million lines takes to read: ``python -m benchmarks.simulator_speed.long_trace [LINES]``.

The trace is made up, in a temporary folder: chains of five calls. Prints a line of JSON: seconds to read and check it,
seconds to make workflows of it, and the peak of memory.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from maestro.trace import read_trace
from maestro_services.simulation.workload.template import templates_of

CHAIN = 5


def measure(lines: int) -> dict[str, float]:
    """Write, read, and make templates of a trace of so many lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        with path.open("w", encoding="utf-8") as sink:
            sink.writelines(f"{_line(number)}\n" for number in range(lines))
        began_s = time.perf_counter()
        calls = read_trace(path)
        read_s = time.perf_counter() - began_s
        templates = templates_of(calls)
        templates_s = time.perf_counter() - began_s - read_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "lines": len(calls),
        "workflows": len(templates),
        "read_s": read_s,
        "templates_s": templates_s,
        "peak_mib": peak_mib,
    }


def _line(number: int) -> str:
    step = number % CHAIN
    return json.dumps(
        {
            "workflow_id": f"w{number // CHAIN}",
            "app": "essays",
            "step": step,
            "parents": [step - 1] if step else [],
            "role": f"role{step}",
            "prompt_tokens": 500 + number % 1000,
            "completion_tokens": 50 + number % 300,
            "start": float(step),
            "latency_s": 0.9,
        }
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)))
