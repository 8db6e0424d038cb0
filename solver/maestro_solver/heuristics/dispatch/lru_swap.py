"""First come first served, and the least recently used idle model leaves for the next (llama-swap, Ollama)."""

from __future__ import annotations

from maestro_solver.heuristics.dispatch.policy import DispatchPolicy, Resident
from maestro_solver.heuristics.policies import POLICIES


def least_recently_used(resident: Resident) -> tuple[float, ...]:
    """Who was used longest ago leaves first, whether it is wanted again or not."""
    return (resident.last_used_s,)


LRU_SWAP = DispatchPolicy("lru-swap", POLICIES["fcfs"], evict=least_recently_used, drains=False)
"""Trade-offs: simple, and good where few models take turns; under load nothing is ever idle, and others wait."""
