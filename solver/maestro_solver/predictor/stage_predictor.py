"""The predictor: the network, mixed with role statistics, calibrated by group, learning on from every outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maestro.costs import LengthFeatures, LengthForecast, LengthOutcome
from maestro.errors import InvalidInputError
from maestro.trace.call import Ending
from maestro_solver.predictor import state as stored
from maestro_solver.predictor.artefact import DEFAULT_FOLDER, Artefact, load
from maestro_solver.predictor.buckets import BUCKETS, lower_edge
from maestro_solver.predictor.calibration import BINS, Calibration
from maestro_solver.predictor.call import FinishedCall, UpcomingCall
from maestro_solver.predictor.distribution import EDGES, LengthDistributions
from maestro_solver.predictor.features import numeric_features
from maestro_solver.predictor.forecast import StageForecast
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.keys import Named
from maestro_solver.predictor.lessons import Lesson, Unlearnt
from maestro_solver.predictor.mixture import ExpertWeights
from maestro_solver.predictor.network import NetworkInputs
from maestro_solver.predictor.role_statistics import LengthPredictor, PredictorConfig
from maestro_solver.predictor.text import hashed_ngrams
from maestro_solver.predictor.vocabulary import knows_app, rows_of

STATE_VERSION = 2

_FIRST_BUCKETS = np.searchsorted([lower_edge(bucket) for bucket in range(BUCKETS)], EDGES[:-1], side="left")
"""The first bucket of role statistics that belongs to each class of lengths."""


class StagePredictor:
    """Forecasts output lengths of calls from what came before them, and learns from what comes of them.

    Deterministic, in memory, no clock: the same observations in the same order give the same forecasts. Not safe to
    use from several threads at once.
    """

    def __init__(
        self, artefact: Artefact | None, *, config: PredictorConfig | None = None, fallback_reason: str = ""
    ) -> None:
        """Without an artefact role statistics forecast alone, and ``fallback_reason`` says why.

        ``config`` says what is assumed of apps that the artefact does not know. Role statistics of those start from
        there, and learn from what is observed here alone: not from other people's apps.
        """
        self._artefact = artefact
        self.fallback_reason = fallback_reason
        self._own_statistics = LengthPredictor(config)
        self._statistics = artefact.role_statistics() if artefact else self._own_statistics
        self._calibration = artefact.calibration() if artefact else Calibration()
        self._experts = ExpertWeights()

    @classmethod
    def load(cls, folder: Path = DEFAULT_FOLDER, config: PredictorConfig | None = None) -> StagePredictor:
        """Return a predictor with the artefact in ``folder``, or one without where that cannot be used.

        ``fallback_reason`` then holds the error's text, for the log and a metric; it is empty otherwise.
        """
        try:
            return cls(load(folder), config=config)
        except InvalidInputError as error:
            return cls(None, config=config, fallback_reason=str(error))

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
        weights = np.array([self._experts.network_weight(call, is_known=self._knows(call)) for call in upcoming])
        mixed = network.mixed(by_role, weights)
        rows = zip(upcoming, mixed.rows(), network.rows(), by_role.rows(), strict=True)
        return tuple(
            StageForecast(own, self._calibration.level_map(call), call.max_tokens, call.rounding, seen, statistics)
            for call, own, seen, statistics in rows
        )

    def by_role(self, features: LengthFeatures) -> LengthForecast:
        """Return what role statistics alone say of a call."""
        return self._statistics_for(features).forecast(features)

    def observe(self, forecast: StageForecast, ended: FinishedCall) -> None:
        """Learn from a call that has ended, given what was forecast of it before it ran.

        Raises InvalidInputError, and learns nothing, for a length that no output can have.
        """
        outcome = LengthOutcome.CENSORED if ended.ending is Ending.CUT else LengthOutcome.COMPLETE
        self.learn(Unlearnt(ended.call.role_features, forecast).lesson(ended.output_tokens, outcome))

    def learn(self, lesson: Lesson) -> None:
        """Learn from an output: its length and, where it was forecast, how well.

        Raises InvalidInputError, and learns nothing, for a length that no output can have.
        """
        self._statistics.observe(lesson.observation)
        if self._own_statistics is not self._statistics:
            self._own_statistics.observe(lesson.observation)
        seen, names = lesson.foresight, lesson.observation.features
        if seen is None:
            return
        censored = lesson.observation.outcome is LengthOutcome.CENSORED
        if not censored:
            self._experts.observe(names, seen.network_density, seen.statistics_density)
        self._calibration.observe(names, seen.score, censored=censored)

    def state(self) -> dict[str, object]:
        """Return all that was learnt since training as a value that JSON can carry; ``restore`` takes it back."""
        return {
            "version": STATE_VERSION,
            "artefact": self.digest,
            "statistics": self._statistics.state(),
            "own_statistics": self._own_statistics.state(),
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
        if state.get("artefact") != self.digest:
            raise _unusable("artefact", "was learnt beside another artefact", state.get("artefact"))
        own_statistics = LengthPredictor.from_state(state.get("own_statistics"), config)
        statistics = LengthPredictor.from_state(state.get("statistics")) if self._artefact else own_statistics
        drifts = state.get("drifts")
        if not isinstance(drifts, int) or drifts < 0:
            raise _unusable("drifts", "must be a count", drifts)
        watched = {group: (above, below) for group, (above, below) in _numbers(state, "watched", 2).items()}
        calibration = Calibration.of(stored.decode(state.get("scores"), BINS), watched, drifts)
        experts = ExpertWeights({group: ratio for group, (ratio,) in _numbers(state, "experts", 1).items()})
        self._statistics, self._own_statistics = statistics, own_statistics
        self._calibration, self._experts = calibration, experts

    @property
    def digest(self) -> str:
        """The SHA-256 of the network's weights; empty where there is no network."""
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
        names = [(call.app, call.role, call.phase, call.model) for call in calls]
        known: dict[tuple[str, ...], NDArray[np.float64]] = {}
        for call, name in zip(calls, names, strict=True):
            if name not in known:
                buckets = self._statistics_for(call).probabilities(call.role_features)
                known[name] = np.add.reduceat(buckets, _FIRST_BUCKETS)
        probability = np.stack([known[name] for name in names])
        return LengthDistributions(probability, np.zeros_like(probability))

    def _knows(self, call: Named) -> bool:
        return self._artefact is not None and knows_app(self._artefact.vocabulary, call.app)

    def _statistics_for(self, call: Named) -> LengthPredictor:
        """The role statistics to be asked about a call: with training's outputs where that knew its app."""
        return self._statistics if self._knows(call) else self._own_statistics


def ngram_rows(calls: Sequence[UpcomingCall]) -> NDArray[np.int64]:
    """Return the word rows of the calls' prompts, (calls, longest), 0 after the last."""
    rows = [hashed_ngrams(call.prompt_head) for call in calls]
    width = max(1, max(map(len, rows), default=0))
    padded = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


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
