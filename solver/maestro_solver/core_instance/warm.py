"""Fill the cache of compiled code: ``python -m maestro_solver.core_instance.warm``, once after an installation.

Without it the first plan pays for compiling; with it, start-up only loads what is on disk.
"""

from __future__ import annotations

import time

from maestro_solver.core_instance.answering import PLANNER, answer
from maestro_solver.core_instance.document import FORMAT, read_instance
from maestro_solver.core_instance.result import InstanceConfig


def warm() -> None:
    """Load, or compile and keep, every compiled function by planning a tiny instance."""
    document = read_instance(
        {
            "format": FORMAT,
            "tick_s": 1.0,
            "network_delay_s": 0.0,
            "load_gib_per_s": 1.0,
            "weights": {"late": 1.0, "tardy": 1.0, "tardy_cap_s": 1.0, "latency": 1.0, "swap": 1.0},
            "models": [{"name": "model", "weights_gib": 1.0}],
            "accelerators": [{"name": "device", "cluster": "here", "memory_gib": 2.0, "slots": 1, "resident": []}],
            "workflows": [{"name": "workflow", "deadline_s": 0.0, "weight": 1.0}],
            "stages": [
                {
                    "name": "stage",
                    "workflow": "workflow",
                    "model": "model",
                    "duration_s": 1.0,
                    "kv_gib": 1.0,
                    "predecessors": [],
                }
            ],
        }
    )
    answer(document, PLANNER, InstanceConfig(workers=1, decodes=20), time.monotonic)


if __name__ == "__main__":
    warm()
