"""Whose turn it is whatever the order says: stages that have waited too long, and tenants below their share.

Both are bounds, off unless the scenario sets them. Within a rank the order decides.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from enum import IntEnum

from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord

WINDOW_S = 300.0
"""Shares are of the work started over about so long; what came earlier counts less and less."""


class Rank(IntEnum):
    """Who goes first."""

    STARVING = 0
    OWED = 1
    ORDINARY = 2


class Fairness:
    """Keeps account of the work started for each tenant, in predicted seconds alone on an accelerator."""

    def __init__(self, starvation_after_s: float | None, least_shares: Mapping[str, float]) -> None:
        """``least_shares``: by tenant the least share of all work, while it has any; below 1 in all."""
        self._starvation_after_s = starvation_after_s
        self._least_shares = least_shares
        self._started_s: dict[str, float] = defaultdict(float)
        self._counted_at_s = 0.0

    @property
    def is_on(self) -> bool:
        """Whether there is any rank but the ordinary one."""
        return self._starvation_after_s is not None or bool(self._least_shares)

    def rank(self, workflow: WorkflowRecord, stage: StageRecord, now: float) -> Rank:
        """The rank of a ready stage now. One that waits for a retry counts from when it was ready, too."""
        after_s, ready_at_s = self._starvation_after_s, stage.ready_at_s
        if after_s is not None and ready_at_s is not None and now - ready_at_s >= after_s:
            return Rank.STARVING
        return Rank.OWED if self._is_owed(workflow.spec.tenant) else Rank.ORDINARY

    def count_start(self, workflow: WorkflowRecord, work_s: float, now: float) -> None:
        """A stage of the workflow starts."""
        if not self._least_shares:
            return
        fading = math.exp((self._counted_at_s - now) / WINDOW_S)
        self._counted_at_s = now
        for tenant in self._started_s:
            self._started_s[tenant] *= fading
        self._started_s[workflow.spec.tenant] += work_s

    def debts_s(self) -> dict[str, float]:
        """By tenant the seconds of work that it has had less than its least share of what was started."""
        return {name: debt_s for name in self._least_shares if (debt_s := self._debt_s(name)) > 0.0}

    def _is_owed(self, tenant: str) -> bool:
        """Whether the tenant has had less than its least share; fading leaves shares as they are."""
        return tenant in self._least_shares and self._debt_s(tenant) > 0.0

    def _debt_s(self, tenant: str) -> float:
        return self._least_shares[tenant] * sum(self._started_s.values()) - self._started_s.get(tenant, 0.0)
