"""What a run of several workflows amounted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maestro.client import PlanReport
from maestro.fleet import place_text
from maestro.status import StageStatus, WorkflowState, WorkflowStatus
from maestro_services.cli.fleet_client import NodeView


class LoadCounter:
    """Counts model loads from what nodes report: every replica generation on an accelerator is one load."""

    def __init__(self) -> None:
        self._loads: dict[str, set[tuple[str, int]]] = {}

    def observe(self, nodes: Iterable[NodeView]) -> None:
        """Take note of the replicas that are there now."""
        for node in nodes:
            for accelerator in node.accelerators:
                seen = self._loads.setdefault(accelerator.name, set())
                seen.update((replica.model, replica.generation) for replica in accelerator.replicas)

    @property
    def loads(self) -> int:
        """How many loads were seen."""
        return sum(len(seen) for seen in self._loads.values())

    @property
    def swaps(self) -> int:
        """How many of them were not the first on their accelerator."""
        return self.loads - sum(bool(seen) for seen in self._loads.values())


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Figures of a run. Token counts are over all LLM stages that succeeded.

    ``reserved_tokens`` is what KV memory was reserved for and ``used_tokens`` what prompts and outputs took of it;
    ``within_p95`` counts the stages whose output was no longer than its predicted 95th percentile.
    """

    workflows: int
    succeeded: int
    met_deadline: int
    met_by_class: Mapping[str, tuple[int, int]]
    stages: int
    output_tokens: int
    reserved_tokens: int
    used_tokens: int
    within_p95: int
    placements: Mapping[str, int]
    attempts: int
    loads: int
    swaps: int
    plans_by_source: Mapping[str, int]
    fallbacks_by_reason: Mapping[str, int]
    seconds: float


def summarise(statuses: Iterable[WorkflowStatus], plan: PlanReport, counter: LoadCounter, seconds: float) -> RunSummary:
    """Add everything up; ``seconds`` is from the first submission to the last end."""
    ended = tuple(statuses)
    stages = [stage for status in ended for stage in status.stages if stage.usage is not None]
    return RunSummary(
        workflows=len(ended),
        succeeded=sum(status.state is WorkflowState.SUCCEEDED for status in ended),
        met_deadline=sum(status.met_deadline for status in ended),
        met_by_class=_met_by_class(ended),
        stages=len(stages),
        output_tokens=sum(stage.usage.completion_tokens for stage in stages if stage.usage),
        reserved_tokens=sum(stage.kv_reserved_tokens for stage in stages),
        used_tokens=sum(stage.usage.prompt_tokens + stage.usage.completion_tokens for stage in stages if stage.usage),
        within_p95=sum(_within_p95(stage) for stage in stages),
        placements=dict(Counter(f"{stage.model} on {place_text(stage.accelerator, *stage.peers)}" for stage in stages)),
        attempts=sum(stage.attempts for stage in stages),
        loads=counter.loads,
        swaps=counter.swaps,
        plans_by_source=plan.plans_by_source,
        fallbacks_by_reason=plan.fallbacks_by_reason,
        seconds=seconds,
    )


def summary_lines(summary: RunSummary) -> Iterable[str]:
    """Yield the summary as people read it."""
    classes = ", ".join(f"{name} {met} of {all_}" for name, (met, all_) in sorted(summary.met_by_class.items()))
    share = summary.used_tokens / summary.reserved_tokens if summary.reserved_tokens else 0.0
    yield f"workflows       {summary.succeeded} of {summary.workflows} succeeded in {summary.seconds:.1f} s"
    yield f"SLO attainment  {summary.met_deadline} of {summary.workflows} by their deadline ({classes})"
    yield (
        f"stages          {summary.stages} LLM calls in {summary.attempts} attempts, "
        f"{summary.output_tokens} output tokens"
    )
    yield f"placed          {_counts(summary.placements)}"
    yield f"plans           {_counts(summary.plans_by_source)}"
    yield f"fallbacks       {_counts(summary.fallbacks_by_reason)}"
    yield f"model loads     {summary.loads}, {summary.swaps} of them swaps"
    yield (
        f"KV cache        {summary.reserved_tokens} tokens reserved, {summary.used_tokens} used ({share:.0%}); "
        f"{summary.within_p95} of {summary.stages} outputs within their predicted p95"
    )


def _met_by_class(statuses: Iterable[WorkflowStatus]) -> dict[str, tuple[int, int]]:
    """Count by SLO class how many met their deadline, and how many there were."""
    counts: dict[str, tuple[int, int]] = {}
    for status in statuses:
        met, seen = counts.get(status.slo_class, (0, 0))
        counts[status.slo_class] = (met + status.met_deadline, seen + 1)
    return counts


def _within_p95(stage: StageStatus) -> bool:
    if stage.usage is None or stage.forecast is None:
        return False
    return stage.usage.completion_tokens <= stage.forecast.p95_tokens


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
