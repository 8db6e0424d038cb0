"""What usually follows in a workflow whose later stages are not submitted yet, learnt from finished ones.

An agent reveals its graph as it goes. Of each app the latest finished workflows are kept as bare sequences of places
(role and phase) with their output lengths. What may follow the n-th visit to a place is what followed the n-th visit to
it in those workflows: branches and loops come with the frequencies and counts that were seen, nothing is assumed of
their form.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestro.errors import InvalidInputError
from maestro_solver.predictor.call import FinishedCall
from maestro_solver.predictor.history import Place

VERSION = 1

_KEPT_WORKFLOWS = 200
_KEPT_APPS = 64
_LEAST_MATCHES = 5

Outline = tuple[tuple[Place, int], ...]
"""A workflow's places in the order in which they ended, each with its output, tokens."""


@dataclass(frozen=True, slots=True)
class Continuations:
    """What followed in finished workflows from where this one is; each equally likely."""

    outlines: tuple[Outline, ...]

    @property
    def calls(self) -> NDArray[np.int64]:
        """How many calls followed, one number a workflow."""
        return np.array([len(outline) for outline in self.outlines], np.int64)

    @property
    def output_tokens(self) -> NDArray[np.int64]:
        """How many tokens they produced together, one number a workflow."""
        return np.array([sum(tokens for _, tokens in outline) for outline in self.outlines], np.int64)

    def expected_places(self) -> dict[Place, float]:
        """Return how often each place is expected to follow."""
        counts = Counter(place for outline in self.outlines for place, _ in outline)
        return {place: count / len(self.outlines) for place, count in counts.most_common()}


class WorkflowTemplates:
    """Outlines of finished workflows by app; the latest are kept, of the apps seen last. Deterministic."""

    def __init__(self) -> None:
        self._outlines: OrderedDict[str, deque[Outline]] = OrderedDict()

    def observe(self, app: str, calls: Sequence[FinishedCall]) -> None:
        """Learn from a workflow that ended as it should, its calls in the order in which they ended."""
        if not calls:
            return
        outline = tuple(((ended.call.role, ended.call.phase), ended.output_tokens) for ended in calls)
        self._outlines.setdefault(app, deque(maxlen=_KEPT_WORKFLOWS)).append(outline)
        self._outlines.move_to_end(app)
        if len(self._outlines) > _KEPT_APPS:
            self._outlines.popitem(last=False)

    def following(self, app: str, visited: Sequence[Place]) -> Continuations | None:
        """Return what may follow after a workflow visited places in this order; None for an app never seen.

        Workflows count that visited the last place as often as this one did; where fewer than five did, those of them
        with the nearest number of visits instead, and where none knew the place, those that were as long.
        """
        outlines = self._outlines.get(app)
        if not outlines:
            return None
        if not visited:
            return Continuations(tuple(outlines))
        last, visits = visited[-1], sum(place == visited[-1] for place in visited)
        ranked: list[tuple[int, Outline]] = []
        for outline in outlines:
            at = [index for index, (place, _) in enumerate(outline) if place == last]
            if at:
                nearest = min(visits, len(at))
                ranked.append((visits - nearest, outline[at[nearest - 1] + 1 :]))
        if not ranked:
            return Continuations(tuple(outline[len(visited) :] for outline in outlines))
        exact = [outline for missing, outline in ranked if missing == 0]
        if len(exact) < _LEAST_MATCHES:
            ranked.sort(key=lambda pair: pair[0])
            exact = [outline for _, outline in ranked[:_LEAST_MATCHES]]
        return Continuations(tuple(exact))

    def state(self) -> dict[str, object]:
        """Return what was learnt as a value that JSON can carry; ``from_state`` takes it back."""
        apps = [
            [app, [[[role, phase, tokens] for (role, phase), tokens in outline] for outline in outlines]]
            for app, outlines in self._outlines.items()
        ]
        return {"version": VERSION, "apps": apps}

    @classmethod
    def from_state(cls, state: object) -> WorkflowTemplates:
        """Return templates that know what ``state`` says; raises InvalidInputError where it is anything else."""
        if not isinstance(state, dict) or state.get("version") != VERSION or not isinstance(state.get("apps"), list):
            raise _invalid(state)
        templates = cls()
        for entry in state["apps"]:
            match entry:
                case [str(app), list(outlines)] if all(isinstance(outline, list) for outline in outlines):
                    kept = deque((_outline(outline) for outline in outlines), maxlen=_KEPT_WORKFLOWS)
                    templates._outlines[app] = kept
                case _:
                    raise _invalid(entry)
        return templates


def _outline(entries: list[object]) -> Outline:
    outline: list[tuple[Place, int]] = []
    for entry in entries:
        match entry:
            case [str(role), str(phase), int(tokens)] if tokens >= 0:
                outline.append(((role, phase), tokens))
            case _:
                raise _invalid(entry)
    return tuple(outline)


def _invalid(value: object) -> InvalidInputError:
    return InvalidInputError(
        "templates", "are damaged or of another version", value=value, remedy="start without stored templates"
    )
