"""The whole evaluation of a predictor on a trace, as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maestro.trace import TraceCall
from maestro_solver.predictor.evaluation.baselines import Doubles, median_forecasts
from maestro_solver.predictor.evaluation.replay import ReplayedCall, replayed
from maestro_solver.predictor.evaluation.reservation import Reservation, reservations
from maestro_solver.predictor.evaluation.scores import Scores, scored
from maestro_solver.predictor.stage_predictor import StagePredictor


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The figures of one source, app, (app, role) or (app, role, phase), which ``group`` names."""

    group: tuple[str, ...]
    scores: Scores
    reservations: tuple[Reservation, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of all calls together and of every group, largest first."""

    online: bool
    overall: GroupReport
    by_source: tuple[GroupReport, ...]
    by_app: tuple[GroupReport, ...]
    by_role: tuple[GroupReport, ...]
    by_phase: tuple[GroupReport, ...]
    drifts: int


def evaluated(
    calls: Sequence[TraceCall],
    predictor: StagePredictor,
    medians: Mapping[tuple[str, ...], float],
    baselines: Mapping[str, Doubles],
    *,
    online: bool,
) -> Report | None:
    """Return the report on ``calls``, None where no output ended by itself.

    ``medians`` are those of training, ``baselines`` point forecasts for the same calls beside them.
    """
    forecasts = tuple(replayed(calls, predictor, online=online))
    others = {**median_forecasts(calls, medians), **baselines}
    overall = _group((), forecasts, np.arange(len(calls)), others)
    if overall is None:
        return None

    def grouped(key: Callable[[TraceCall], tuple[str, ...]]) -> tuple[GroupReport, ...]:
        rows: dict[tuple[str, ...], list[int]] = {}
        for index, call in enumerate(calls):
            rows.setdefault(key(call), []).append(index)
        reports = [_group(group, forecasts, np.array(found), others) for group, found in rows.items()]
        return tuple(sorted((one for one in reports if one), key=lambda one: -one.scores.calls))

    return Report(
        online=online,
        overall=overall,
        by_source=grouped(lambda call: (call.source,)),
        by_app=grouped(lambda call: (call.app,)),
        by_role=grouped(lambda call: (call.app, call.role)),
        by_phase=grouped(lambda call: (call.app, call.role, call.phase)),
        drifts=predictor.drifts,
    )


def _group(
    group: tuple[str, ...], forecasts: Sequence[ReplayedCall], rows: np.ndarray, others: Mapping[str, Doubles]
) -> GroupReport | None:
    chosen = [forecasts[row] for row in rows]
    scores = scored(chosen, {name: forecast[rows] for name, forecast in others.items()})
    return None if scores is None else GroupReport(group, scores, reservations(chosen))
