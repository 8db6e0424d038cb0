"""Remaining workflow latency for the order, predicted memory for the place (Kairos)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.dispatch.policy import DispatchPolicy, Site
from maestro_solver.heuristics.policies.policy import OrderKey


@dataclass(frozen=True, slots=True)
class ShortestRemainingLatencyFirst:
    """The workflow with the least predicted latency left goes first, the older one of two.

    Trade-offs: as shortest remaining path, without weights; deadlines are ignored and long workflows wait.
    """

    name: str = "kairos"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """The predicted path to the workflow's end, then age."""
        return (stage.tail_s, -workflow.age_s)


def least_memory(sites: Sequence[Site]) -> Site:
    """The replica that is least full at the stage's predicted memory peak, then the least loaded one.

    Trade-offs: evens out memory, and so avoids preemption; does not see which accelerator is faster.
    """
    return min(sites, key=lambda site: (site.kv_share, site.batch))


KAIROS = DispatchPolicy("kairos", ShortestRemainingLatencyFirst(), place=least_memory)
