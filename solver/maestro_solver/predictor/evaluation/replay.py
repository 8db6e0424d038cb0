"""Goes through recorded calls in their order and forecasts each from what came before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from maestro.trace import TraceCall
from maestro_solver.predictor.call import FinishedCall, finished, upcoming
from maestro_solver.predictor.forecast import StageForecast
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.stage_predictor import StagePredictor

SHARES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
"""The quantiles that are forecast of every call, p10 to p99."""

OVERFLOW_COST_TOKENS = 4400.0
"""Set so that about 2 % of calls outgrow their reservation: moved once after the validation tasks had been seen."""

_MEDIAN = int(np.flatnonzero(SHARES == 0.5)[0])


@dataclass(frozen=True, slots=True)
class ReplayedCall:
    """A recorded call and what was forecast of it before it ran.

    ``quantiles`` are tokens, in the order of SHARES; ``reserved_tokens`` is the output that it is cheapest to reserve
    where outgrowing the reservation costs OVERFLOW_COST_TOKENS.
    """

    call: TraceCall
    quantiles: NDArray[np.float64]
    reserved_tokens: float

    @property
    def p50_tokens(self) -> float:
        """The point forecast."""
        return float(self.quantiles[_MEDIAN])

    def at(self, share: float) -> float:
        """Return the forecast of one of SHARES."""
        return float(self.quantiles[np.flatnonzero(share == SHARES)[0]])


def replayed(calls: Iterable[TraceCall], predictor: StagePredictor, *, online: bool) -> Iterator[ReplayedCall]:
    """Yield every call with its forecast, in order.

    Forecasts see the earlier calls of the same workflow. With ``online`` the predictor moreover learns from a
    workflow once the next one begins, so that forecasts see the workflows that came earlier. A workflow whose calls
    do not stand together counts each run of them.
    """
    histories: dict[str, WorkflowHistory] = {}
    for workflow_id, run in groupby(calls, key=lambda call: call.workflow_id):
        history = histories.setdefault(workflow_id, WorkflowHistory())
        outcomes: list[tuple[StageForecast, FinishedCall]] = []
        for recorded in run:
            forecast = predictor.forecast(upcoming(recorded), history)
            reserved = forecast.cheapest_reservation(OVERFLOW_COST_TOKENS)
            yield ReplayedCall(recorded, forecast.quantiles(SHARES), reserved)
            ended = finished(recorded)
            history.add(ended)
            outcomes.append((forecast, ended))
        if online:
            for forecast, ended in outcomes:
                predictor.observe(forecast, ended)


def lengths_of(calls: Sequence[ReplayedCall]) -> NDArray[np.float64]:
    """Return what the calls produced, tokens."""
    return np.array([one.call.completion_tokens for one in calls], np.float64)
