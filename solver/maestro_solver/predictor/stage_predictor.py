"""The predictor: the network, mixed with role statistics, calibrated by group, learning on from every outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro.trace.call import Ending
from maestro_solver.predictor import state as stored
from maestro_solver.predictor.artefact import DEFAULT_FOLDER, Artefact, load
from maestro_solver.predictor.buckets import BUCKETS, lower_edge
from maestro_solver.predictor.calibration import BINS, Calibration
from maestro_solver.predictor.call import FinishedCall, UpcomingCall
from maestro_solver.predictor.distribution import CLASSES, EDGES, LengthDistributions
from maestro_solver.predictor.features import numeric_features
from maestro_solver.predictor.forecast import StageForecast
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.mixture import ExpertWeights
from maestro_solver.predictor.network import NetworkInputs
from maestro_solver.predictor.role_statistics import LengthPredictor, PredictorConfig
from maestro_solver.predictor.text import hashed_ngrams
from maestro_solver.predictor.vocabulary import rows_of

STATE_VERSION = 1

_FIRST_BUCKETS = np.searchsorted([lower_edge(bucket) for bucket in range(BUCKETS)], EDGES[:-1], side="left")
"""The first bucket of role statistics that belongs to each class of lengths."""


class StagePredictor:
    """Forecasts output lengths of calls from what came before them, and learns from what comes of them.

    Deterministic, in memory, no clock: the same observations in the same order give the same forecasts. Not safe to
    use from several threads at once.
    """

    def __init__(self, artefact: Artefact | None, *, fallback_reason: str = "") -> None:
        """Without an artefact role statistics forecast alone, and ``fallback_reason`` says why."""
        self._artefact = artefact
        self.fallback_reason = fallback_reason
        self._statistics = artefact.role_statistics() if artefact else LengthPredictor()
        self._calibration = artefact.calibration() if artefact else Calibration()
        self._experts = ExpertWeights()

    @classmethod
    def load(cls, folder: Path = DEFAULT_FOLDER) -> StagePredictor:
        """Return a predictor with the artefact in ``folder``, or one without where that cannot be used.

        ``fallback_reason`` then holds the error's text, for the log and a metric; it is empty otherwise.
        """
        try:
            return cls(load(folder))
        except InvalidInputError as error:
            return cls(None, fallback_reason=str(error))

    @property
    def drifts(self) -> int:
        """How often it was noticed that a group of calls no longer behaves as it did."""
        return self._calibration.drifts

    def forecast(self, call: UpcomingCall, history: WorkflowHistory) -> StageForecast:
        """Return the forecast for one call, given the calls of its workflow that have ended."""
        return self.forecast_many([(call, history)])[0]

    def forecast_many(self, calls: Sequence[tuple[UpcomingCall, WorkflowHistory]]) -> tuple[StageForecast, ...]:
        """Return a forecast for each call, in order.

        Raises InvalidInputError for a ``max_tokens`` below 1 or a negative ``prompt_tokens``.
        """
        if not calls:
            return ()
        upcoming = [call for call, _ in calls]
        for call in upcoming:
            if call.max_tokens < 1:
                raise InvalidInputError("max_tokens", "must be 1 or more", value=call.max_tokens)
        by_role = self._by_role(upcoming)
        network = self._by_network(calls, self._artefact) if self._artefact else by_role
        weights = np.array([self._experts.network_weight(call) for call in upcoming])
        mixed = network.mixed(by_role, weights)
        maps = [self._calibration.level_map(call) for call in upcoming]
        return tuple(
            StageForecast(_row(mixed, i), maps[i], call.max_tokens, call.rounding, _row(network, i), _row(by_role, i))
            for i, call in enumerate(upcoming)
        )

    def observe(self, forecast: StageForecast, ended: FinishedCall) -> None:
        """Learn from a call that has ended, given what was forecast of it before it ran.

        Raises InvalidInputError, and learns nothing, for a length that no output can have.
        """
        tokens = ended.output_tokens
        censored = ended.ending is Ending.CUT
        outcome = LengthOutcome.CENSORED if censored else LengthOutcome.COMPLETE
        self._statistics.observe(LengthObservation(ended.call.role_features, tokens, outcome))
        if not censored:
            at = np.array([float(tokens)])
            self._experts.observe(
                ended.call, float(forecast.network.density(at)[0]), float(forecast.statistics.density(at)[0])
            )
        self._calibration.observe(ended.call, forecast.score(tokens), censored=censored)

    def state(self) -> dict[str, object]:
        """Return all that was learnt since training as a value that JSON can carry; ``restore`` takes it back."""
        return {
            "version": STATE_VERSION,
            "artefact": self._digest,
            "statistics": self._statistics.state(),
            "scores": stored.encode(self._calibration.histograms(), BINS),
            "watched": [[list(group), *sums] for group, sums in self._calibration.watched().items()],
            "experts": [[list(group), ratio] for group, ratio in self._experts.ratios().items()],
            "drifts": self.drifts,
        }

    def restore(self, state: object, config: PredictorConfig | None = None) -> None:
        """Go on from a state that ``state`` returned.

        Raises InvalidInputError, and changes nothing, for a state that is damaged, of another version, or was learnt
        beside another artefact (its scores are those of another network).
        """
        if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
            raise _unusable("version", "is of another version", state)
        if state.get("artefact") != self._digest:
            raise _unusable("artefact", "was learnt beside another artefact", state.get("artefact"))
        statistics = LengthPredictor.from_state(state.get("statistics"), config)
        drifts = state.get("drifts")
        if not isinstance(drifts, int) or drifts < 0:
            raise _unusable("drifts", "must be a count", drifts)
        watched = {group: (above, below) for group, (above, below) in _numbers(state, "watched", 2).items()}
        calibration = Calibration.of(stored.decode(state.get("scores"), BINS), watched, drifts)
        experts = ExpertWeights({group: ratio for group, (ratio,) in _numbers(state, "experts", 1).items()})
        self._statistics, self._calibration, self._experts = statistics, calibration, experts

    @property
    def _digest(self) -> str:
        return self._artefact.digest if self._artefact else ""

    def _by_network(
        self, calls: Sequence[tuple[UpcomingCall, WorkflowHistory]], artefact: Artefact
    ) -> LengthDistributions:
        features = [
            numeric_features(call, history, self._statistics.forecast(call.role_features)) for call, history in calls
        ]
        names = [rows_of(call, artefact.vocabulary) for call, _ in calls]
        ngrams = ngram_rows([call for call, _ in calls])
        return artefact.network.predict(NetworkInputs(np.array(features, np.float32), np.array(names), ngrams))

    def _by_role(self, calls: Sequence[UpcomingCall]) -> LengthDistributions:
        probability = np.empty((len(calls), CLASSES))
        for index, call in enumerate(calls):
            probability[index] = np.add.reduceat(self._statistics.probabilities(call.role_features), _FIRST_BUCKETS)
        return LengthDistributions(probability, np.zeros_like(probability))


def ngram_rows(calls: Sequence[UpcomingCall]) -> NDArray[np.int64]:
    """Return the word rows of the calls' prompts, (calls, longest), 0 after the last."""
    rows = [hashed_ngrams(call.prompt_head) for call in calls]
    width = max(1, max(map(len, rows), default=0))
    padded = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _row(distributions: LengthDistributions, index: int) -> LengthDistributions:
    return LengthDistributions(distributions.probability[index : index + 1], distributions.slope[index : index + 1])


def _numbers(state: Mapping[str, object], field: str, count: int) -> dict[tuple[str, ...], list[float]]:
    """Return ``count`` finite numbers by group, as they stand in ``field`` of a state."""
    entries = state.get(field)
    if not isinstance(entries, list):
        raise _unusable(field, "must be a list", entries)
    found: dict[tuple[str, ...], list[float]] = {}
    for entry in entries:
        match entry:
            case [list(group), *numbers] if len(numbers) == count and all(map(_is_finite, numbers)):
                found[tuple(str(part) for part in group)] = [float(number) for number in numbers]
            case _:
                raise _unusable(field, f"must be a list of a group and {count} numbers", entry)
    return found


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)


def _unusable(field: str, problem: str, value: object) -> InvalidInputError:
    remedy = "start the predictor without a stored state"
    return InvalidInputError(f"predictor state.{field}", problem, value=value, remedy=remedy)
