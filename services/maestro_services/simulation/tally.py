"""What is counted while a simulation runs, and what it comes to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_GIB = float(1 << 30)


@dataclass(slots=True)
class Ended:
    """A workflow of the measured window: whether it made its deadline, and how long it took if it has succeeded.

    One that is late is counted when its deadline passes; its latency is put in if it succeeds later.
    """

    slo_class: str
    weight: float
    attained: bool
    latency_s: float | None


@dataclass(slots=True)
class Tally:
    """Counts over a whole run, warm-up included, and the measured workflows."""

    workflows: list[Ended] = field(default_factory=list)
    calls: int = 0
    overflows: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    reserved_gib_s: float = 0.0
    swaps: int = 0
    cold_starts: int = 0
    load_s: float = 0.0
    refusals: int = 0
    failures: int = 0
    solver_s: float = 0.0
    plan_sources: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)

    def count_reservation(self, kv_bytes: int, seconds: float) -> None:
        """An attempt has given its reservation back."""
        self.reserved_gib_s += kv_bytes / _GIB * seconds

    def count_call(self, prompt_tokens: int, output_tokens: int, *, overflowed: bool) -> None:
        """A call has ended with a result; ``overflowed``: it took more memory than was reserved for it."""
        self.calls += 1
        self.prompt_tokens += prompt_tokens
        self.output_tokens += output_tokens
        self.overflows += overflowed

    def attainment(self) -> dict[str, object]:
        """The share of workflows that made their deadline: of all, by weight, and of each class."""
        by_class: dict[str, list[Ended]] = defaultdict(list)
        for workflow in self.workflows:
            by_class[workflow.slo_class].append(workflow)
        total_weight = sum(workflow.weight for workflow in self.workflows)
        attained_weight = sum(workflow.weight for workflow in self.workflows if workflow.attained)
        return {
            "overall": _share(self.workflows),
            "weighted": attained_weight / total_weight if total_weight else 0.0,
            "by_class": {name: _share(found) for name, found in sorted(by_class.items())},
        }

    def latency_s(self) -> dict[str, dict[str, float]]:
        """Quantiles of the latency of workflows that succeeded, by class."""
        by_class: dict[str, list[float]] = defaultdict(list)
        for workflow in self.workflows:
            if workflow.latency_s is not None:
                by_class[workflow.slo_class].append(workflow.latency_s)
        return {
            name: {f"p{share}": float(np.percentile(found, share)) for share in (50, 90, 99)}
            for name, found in sorted(by_class.items())
        }


def _share(workflows: Sequence[Ended]) -> float:
    return sum(workflow.attained for workflow in workflows) / len(workflows) if workflows else 0.0
