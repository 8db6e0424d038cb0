"""What is short and urgent first, what is lost last: the order in which stages start where plans decide residency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maestro.snapshot import WaitingStage, WorkflowState
from maestro_solver.heuristics.dispatch.policy import DispatchPolicy
from maestro_solver.heuristics.policies.policy import OrderKey

LOOK_AHEAD_S = 100.0
"""Slack of so much makes a workflow e times less urgent."""


@dataclass(frozen=True, slots=True)
class ApparentUrgency:
    """Weight per remaining work, discounted by slack (Vepsalainen and Morton 1987, 'apparent tardiness cost').

    A workflow that would be late even if the stage started now and met nobody comes behind all that would not.

    Trade-offs: between EDF, which is right while everybody can be served, and weighted shortest work, which is right
    when not; the look-ahead says where one becomes the other. Keys change with time, and are computed anew for all.
    """

    name: str = "urgency"

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """Whether it is lost, then the discounted weight per remaining work, then the longer remaining path."""
        slack_s = workflow.deadline_s - stage.tail_s
        worth = workflow.weight / max(1.0, workflow.remaining_work_s)
        return (float(slack_s < 0.0), -worth * math.exp(-max(0.0, slack_s) / LOOK_AHEAD_S), -stage.tail_s)


URGENCY = DispatchPolicy("urgency", ApparentUrgency(), changes_with_time=True)
