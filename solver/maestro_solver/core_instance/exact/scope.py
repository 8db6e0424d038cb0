"""What a model may change of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from maestro_solver.core_instance.problem import CoreProblem


@dataclass(frozen=True)
class Scope:
    """The stages that may move, and the accelerators on which models may be loaded and evicted anew.

    Elsewhere a residency keeps its load and its stages, and may only be held longer.
    """

    stages: frozenset[int]
    accelerators: frozenset[int]

    @classmethod
    def everything(cls, problem: CoreProblem) -> Scope:
        """All stages and all accelerators."""
        return cls(frozenset(range(problem.stages)), frozenset(range(problem.accelerators)))
