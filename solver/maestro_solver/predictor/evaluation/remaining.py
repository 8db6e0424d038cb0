"""Goes through recorded calls in their order and foretells what is still to come of each one's workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from maestro.trace import TraceCall
from maestro_solver.predictor.call import finished
from maestro_solver.predictor.templates import Continuations, WorkflowTemplates

_SHARES = (0.1, 0.5, 0.9)
_MOST_PLACES = 8


@dataclass(frozen=True, slots=True)
class Remaining:
    """What was foretold before a call began: the p10, p50 and p90 of the calls and output tokens to come, it included.

    ``places`` says how often roles and phases are expected, the most frequent first.
    """

    call: TraceCall
    calls: tuple[float, float, float]
    output_tokens: tuple[float, float, float]
    places: dict[tuple[str, str], float]


def foretold(calls: Iterable[TraceCall], templates: WorkflowTemplates) -> Iterator[Remaining]:
    """Yield what is to come before every call of an app that is known by then.

    ``templates`` learn from each workflow when the next one begins. A workflow whose calls do not stand together
    counts as several.
    """
    for _, run in groupby(calls, key=lambda call: call.workflow_id):
        done: list[TraceCall] = []
        for call in run:
            found = templates.following(call.app, [(one.role, one.phase) for one in done])
            if found is not None:
                yield _remaining(call, found)
            done.append(call)
        templates.observe(done[0].app, [finished(call) for call in done])


def _remaining(call: TraceCall, found: Continuations) -> Remaining:
    calls = np.quantile(np.maximum(found.calls, 1), _SHARES)  # it runs, whatever had ended by then elsewhere
    tokens = np.quantile(found.output_tokens, _SHARES)
    places = dict(list(found.expected_places().items())[:_MOST_PLACES])
    return Remaining(call, (calls[0], calls[1], calls[2]), (tokens[0], tokens[1], tokens[2]), places)
