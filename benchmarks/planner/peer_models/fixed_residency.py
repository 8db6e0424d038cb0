"""Core instances with all that two of the peers cannot say taken out: loads, the network, the cap on tardiness.

Every model is resident for good where it was at first, one that was nowhere on the accelerator with the fewest
stages to serve; each accelerator has room for KV beside its residents. A load takes so long that none can pay, so that
all solvers choose from the same plans.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Final

_KV_ROOM_GIB: Final = 24.0
_NO_LOADS_GIB_PER_S: Final = 1e-4
_NO_CAP_S: Final = 1e6


def with_fixed_residency(values: dict[str, Any]) -> dict[str, Any]:
    """The instance without loads, network delay or cap; KV reservations that would not fit are cut to the room."""
    fixed = copy.deepcopy(values)
    weights = {model["name"]: model["weights_gib"] for model in fixed["models"]}
    demand = Counter(dict.fromkeys(weights, 0.0))
    for stage in fixed["stages"]:
        demand[stage["model"]] += stage["duration_s"]
        stage["kv_gib"] = min(stage["kv_gib"], _KV_ROOM_GIB)
    accelerators = fixed["accelerators"]
    for name in sorted(weights):
        if demand[name] and not any(name in accelerator["resident"] for accelerator in accelerators):
            least = min(accelerators, key=lambda found: sum(demand[model] for model in found["resident"]))
            least["resident"].append(name)
    for accelerator in accelerators:
        accelerator["memory_gib"] = _KV_ROOM_GIB + sum(weights[name] for name in accelerator["resident"])
    fixed["network_delay_s"] = 0.0
    fixed["load_gib_per_s"] = _NO_LOADS_GIB_PER_S
    fixed["weights"]["tardy_cap_s"] = _NO_CAP_S
    return fixed
