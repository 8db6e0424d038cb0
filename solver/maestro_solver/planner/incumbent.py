"""The best valid candidate so far, and who found it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, violations

_LEAST_GAIN = 1e-6
"""Objectives closer than this are equal."""

PORTFOLIO = "portfolio"


class Incumbent:
    """Takes candidates of all parts, keeps the best one that the checker passes, and announces each that it takes.

    ``gains`` is by how much each part has lowered the objective below the portfolio's; ``rejected`` counts candidates
    that the checker did not pass.
    """

    def __init__(self, instance: Instance, announce: Callable[[Candidate], None]) -> None:
        self._instance = instance
        self._announce = announce
        self._gains: dict[str, float] = defaultdict(float)
        self._best: Candidate | None = None
        self.rejected = 0
        self.portfolio_objective: float | None = None

    @property
    def best(self) -> Candidate | None:
        """The best so far."""
        return self._best

    @property
    def gains(self) -> Mapping[str, float]:
        """The gain of each part that has any."""
        return dict(self._gains)

    def is_better(self, objective: float) -> bool:
        """Whether a candidate of this objective would be taken, if it is valid."""
        return self._best is None or objective < self._best.objective - _LEAST_GAIN

    def offer(self, candidate: Candidate, part: str) -> bool:
        """Take the candidate if it is better and valid; whether it was taken."""
        if not self.is_better(candidate.objective):
            return False
        if violations(self._instance, candidate):
            self.rejected += 1
            return False
        if part == PORTFOLIO:
            self.portfolio_objective = candidate.objective
        elif self._best is not None:
            self._gains[part] += self._best.objective - candidate.objective
        self._best = candidate
        self._announce(candidate)
        return True
