"""What a policy is."""

from __future__ import annotations

from typing import Protocol

from maestro.snapshot import WaitingStage, WorkflowState

OrderKey = tuple[float, ...]
"""Compared entry by entry; the smaller key is placed sooner."""


class Policy(Protocol):
    """An order of stages. Pure: the same workflow and stage give the same key."""

    @property
    def name(self) -> str:
        """The name it has in logs and plans."""

    def order_key(self, workflow: WorkflowState, stage: WaitingStage) -> OrderKey:
        """The stage's place in the order, all keys of one policy equally long."""
