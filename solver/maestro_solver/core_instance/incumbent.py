"""The best plan so far, shared by the parts of the planner that look for a better one at the same time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from maestro_solver.core_instance.problem import CorePlan

LEAST_GAIN: Final = 1e-7
"""What counts as better, above the noise of sums."""


class Incumbent:
    """A plan, its objective, who found it, and how much each part has lowered the objective."""

    def __init__(self, plan: CorePlan, objective: float, source: str) -> None:
        self._lock = threading.Lock()
        self._plan = plan
        self._objective = objective
        self._source = source
        self._gains: dict[str, float] = defaultdict(float)
        self._is_open = True

    @property
    def plan(self) -> CorePlan:
        """The best plan so far."""
        return self._plan

    @property
    def objective(self) -> float:
        """What it costs."""
        return self._objective

    @property
    def source(self) -> str:
        """The part that found it."""
        return self._source

    @property
    def gains(self) -> Mapping[str, float]:
        """By how much each part has lowered the objective."""
        return dict(self._gains)

    def offer(self, plan: CorePlan, objective: float, source: str) -> bool:
        """Take the plan if it is better and the incumbent is not closed yet; whether it was taken."""
        with self._lock:
            if not self._is_open or objective >= self._objective - LEAST_GAIN:
                return False
            self._gains[source] += self._objective - objective
            self._plan, self._objective, self._source = plan, objective, source
            return True

    def close(self) -> None:
        """Take no more plans: what comes from a part that overran the limit is too late."""
        with self._lock:
            self._is_open = False
