"""Whether a plan of residency could come out otherwise than the one before it, so that it is worth asking for one.

Every arrival and every end shifts the demand a little. What it shifts by less than plans are exact to is no news.
"""

from __future__ import annotations

from maestro.snapshot import Snapshot

DEMAND_BAND = 0.05
"""Share by which a model's demand has to differ from what was planned for."""


class News:
    """Remembers what the last plan was asked for."""

    def __init__(self) -> None:
        """Everything is news at first."""
        self._planned: Snapshot | None = None

    def is_in(self, snapshot: Snapshot) -> bool:
        """Whether the demand or the fleet differs from what was planned for; a snapshot of stages always does."""
        before = self._planned
        if before is None or not snapshot.demand:
            return True
        return _fleet(before) != _fleet(snapshot) or _has_moved(before, snapshot)

    def planned(self, snapshot: Snapshot) -> None:
        """A plan is asked for."""
        self._planned = snapshot

    def forget(self) -> None:
        """The plan that was asked for did not come, or is not in force."""
        self._planned = None


def _fleet(snapshot: Snapshot) -> tuple[object, ...]:
    """What can be loaded where, what is there, and which loads are still to begin."""
    phases = {(found.name, each.model): each.phase for found in snapshot.accelerators for each in found.replicas}
    loads = {(load.accelerator, load.model, load.committed) for load in snapshot.in_force.loads}
    return phases, loads, set(snapshot.load_s)


def _has_moved(planned: Snapshot, snapshot: Snapshot) -> bool:
    if planned.demand.keys() != snapshot.demand.keys():
        return True
    before, after = planned.demand, snapshot.demand
    return any(
        abs(after[model].tokens_per_s - before[model].tokens_per_s) > DEMAND_BAND * before[model].tokens_per_s
        for model in before
    )
