"""What is counted while a simulation runs, and what it comes to."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

_GIB = float(1 << 30)


def _no_seconds() -> array[float]:
    return array("d")


@dataclass(slots=True)
class ClassTally:
    """The measured workflows of one service level: counts and sums of weights.

    ``latencies_s`` holds eight bytes for each that has succeeded, in time or not: quantiles are exact.
    """

    workflows: int = 0
    attained: int = 0
    weight: float = 0.0
    attained_weight: float = 0.0
    latencies_s: array[float] = field(default_factory=_no_seconds)

    @property
    def share(self) -> float:
        """The share that made its deadline."""
        return self.attained / self.workflows if self.workflows else 0.0


@dataclass(slots=True)
class Tally:
    """Counts over a whole run, warm-up included, and of the measured workflows."""

    classes: dict[str, ClassTally] = field(default_factory=dict)
    calls: int = 0
    overflows: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    reserved_gib_s: float = 0.0
    swaps: int = 0
    cold_starts: int = 0
    warm_starts: int = 0
    load_s: float = 0.0
    refusals: int = 0
    failures: int = 0
    engine_faults: int = 0
    node_faults: int = 0
    solver_s: float = 0.0
    plan_sources: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)

    @property
    def workflows(self) -> int:
        """How many workflows were measured."""
        return sum(found.workflows for found in self.classes.values())

    def count_workflow(self, slo_class: str, weight: float, *, attained: bool) -> None:
        """A measured workflow has ended, or has missed its deadline."""
        found = self.classes.setdefault(slo_class, ClassTally())
        found.workflows += 1
        found.weight += weight
        if attained:
            found.attained += 1
            found.attained_weight += weight

    def count_latency(self, slo_class: str, seconds: float) -> None:
        """A measured workflow has succeeded; one that was late was counted when its deadline passed."""
        self.classes[slo_class].latencies_s.append(seconds)

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
        classes = [self.classes[name] for name in sorted(self.classes)]
        return {
            "overall": _ratio((found.attained for found in classes), (found.workflows for found in classes)),
            "weighted": _ratio((found.attained_weight for found in classes), (found.weight for found in classes)),
            "by_class": {name: self.classes[name].share for name in sorted(self.classes)},
        }

    def latency_s(self) -> dict[str, dict[str, float]]:
        """Quantiles of the latency of workflows that succeeded, by class."""
        return {
            name: {f"p{share}": float(np.percentile(found.latencies_s, share)) for share in (50, 90, 99)}
            for name, found in sorted(self.classes.items())
            if found.latencies_s
        }


def _ratio(part: Iterable[float], whole: Iterable[float]) -> float:
    """The quotient of two sums; 0 where there is nothing."""
    total = sum(whole)
    return sum(part) / total if total else 0.0
