"""The calls of one workflow that have ended, as later calls of it look back on them.

Statistics are brought up to date when a call ends, so that a forecast finds them ready.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from maestro_solver.predictor.call import FinishedCall, UpcomingCall

RECENT_CALLS = 32
"""How many calls are looked back on, in all and of one role in one phase."""

_REMEMBERED_STEPS = 256

Place = tuple[str, str]
"""A role and a phase."""


@dataclass(slots=True)
class Recent:
    """Prompts and outputs, tokens, of the latest calls, oldest first, and how many calls there were in all."""

    prompts: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    count: int = 0
    last: FinishedCall | None = None
    last_index: int = 0
    median: float = math.nan
    spread: float = math.nan

    def add(self, ended: FinishedCall, index: int) -> None:
        """Append a call, the ``index``-th of its workflow, and forget one if there are too many."""
        self.prompts.append(ended.call.prompt_tokens)
        self.outputs.append(ended.output_tokens)
        if len(self.outputs) > RECENT_CALLS:
            del self.prompts[0], self.outputs[0]
        self.count += 1
        self.last, self.last_index = ended, index
        self.median = median_of(self.outputs)
        self.spread = median_of([abs(tokens - self.median) for tokens in self.outputs])


class WorkflowHistory:
    """The latest calls of a workflow, in the order in which they ended; bounded, whatever the workflow's length."""

    def __init__(self) -> None:
        self.all = Recent()
        self._by_place: dict[Place, Recent] = {}
        self._by_role: dict[str, FinishedCall] = {}
        self._by_step: OrderedDict[int, FinishedCall] = OrderedDict()

    def add(self, ended: FinishedCall) -> None:
        """Append a call that has ended."""
        self.all.add(ended, self.all.count)
        self._by_place.setdefault((ended.call.role, ended.call.phase), Recent()).add(ended, self.all.count - 1)
        self._by_role[ended.call.role] = ended
        self._by_step[ended.call.step] = ended
        if len(self._by_step) > _REMEMBERED_STEPS:
            self._by_step.popitem(last=False)

    def same_place(self, call: UpcomingCall) -> Recent | None:
        """The latest calls of the same role in the same phase, None where there was none."""
        return self._by_place.get((call.role, call.phase))

    def last_of_role(self, role: str) -> FinishedCall | None:
        """The last call of a role, in whichever phase."""
        return self._by_role.get(role)

    def parents_of(self, call: UpcomingCall) -> tuple[FinishedCall, ...]:
        """Those of the call's parents that have ended and are still remembered."""
        return tuple(self._by_step[step] for step in call.parents if step in self._by_step)

    def predecessor_of(self, call: UpcomingCall) -> FinishedCall | None:
        """The call whose context this one most likely continues: a parent, of the same role if there is one."""
        parents = self.parents_of(call)
        for parent in parents:
            if parent.call.role == call.role:
                return parent
        if parents:
            return parents[-1]
        return None if call.parents else self.all.last


def median_of(numbers: Sequence[float]) -> float:
    """Return the median of numbers, of which there must be one at least."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)
