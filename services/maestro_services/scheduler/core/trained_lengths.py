"""Forecasts by the trained predictor, from the call itself and from the calls of its workflow that have ended.

A forecast costs about half a millisecond, or a fifteenth of that among many. So calls are looked at together: all of a
workflow when it is accepted, and those that become ready in one event, when their predecessors' outputs are known. In
between, and for whatever was not looked at, the last answer or role statistics stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from maestro.costs import LengthFeatures, LengthForecast
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.described import Positions, ended_calls, finished_call, upcoming_call
from maestro_services.scheduler.core.lengths import RoleLengths, StageCall
from maestro_services.scheduler.core.records import WorkflowRecord
from maestro_solver.predictor.forecast import StageForecast, lengths_of
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.lessons import Lesson, Unlearnt
from maestro_solver.predictor.stage_predictor import StagePredictor

MOST_AHEAD = 64
"""So many calls of a workflow are looked at when it is accepted, the first ones; that takes some 5 ms."""

TOLERATED_SHARE, TOLERATED_TOKENS = 0.125, 64
"""A prompt that turns out to be off by more than both is looked at again."""

WEIGHT_OF_ONE = 0.1
"""What one counted prompt says of the next ones, against those before it."""


@dataclass(slots=True)
class _Told:
    """What is kept of a workflow: its past, what was forecast of calls, and of ready ones the whole forecast."""

    positions: Positions
    history: WorkflowHistory = field(default_factory=WorkflowHistory)
    lengths: dict[tuple[str, str], LengthForecast] = field(default_factory=dict)
    whole: dict[tuple[str, str], StageForecast] = field(default_factory=dict)


class TrainedLengths(RoleLengths):
    """Forecasts of the network, mixed with role statistics and calibrated online; see ``StagePredictor``."""

    source = "trained"
    lessons_together = 8
    """A lesson takes a quarter of a millisecond, during which the scheduler does nothing else."""

    def __init__(self, predictor: StagePredictor) -> None:
        """``predictor`` has a usable artefact."""
        self._trained = predictor
        self.fallback_reason = predictor.fallback_reason
        self._told: dict[str, _Told] = {}
        self._scale: dict[str, float] = {}

    @property
    def identity(self) -> str:
        """The network's digest."""
        return self._trained.digest

    @property
    def drifts(self) -> int:
        """How often a group of calls was noticed to behave in another way than before."""
        return self._trained.drifts

    def by_role(self, features: LengthFeatures) -> LengthForecast:
        """What the predictor's own role statistics say."""
        return self._trained.by_role(features)

    def of(self, calls: Iterable[StageCall]) -> dict[str, LengthForecast]:
        """By model, the last answer for one stage's calls; that of role statistics where nothing was asked yet."""
        found: dict[str, LengthForecast] = {}
        for call in calls:
            told = self._told.get(call.workflow.id)
            known = told.lengths.get((call.stage.key.stage, call.model)) if told else None
            found[call.model] = known or self.by_role(call.features)
        return found

    def look_ahead(self, calls: Sequence[StageCall]) -> None:
        """Forecasts the first calls of a workflow from their prompts alone."""
        self._look(calls[:MOST_AHEAD], keep_whole=False)

    def look_at(self, calls: Sequence[StageCall]) -> bool:
        """Forecasts ready calls, all at once."""
        self._look(calls, keep_whole=True)
        return bool(calls)

    def count(self, call: StageCall, expected_tokens: int) -> bool:
        """Learns how estimates of prompts are off for the model; looks at the call again if this one was far off."""
        known = self._scale.get(call.model, 1.0)
        ratio = min(2.0, max(0.5, call.prompt_tokens / max(1, expected_tokens)))
        self._scale[call.model] = known + WEIGHT_OF_ONE * (ratio - known)
        off = abs(call.prompt_tokens - expected_tokens * known)
        if off <= max(TOLERATED_TOKENS, TOLERATED_SHARE * call.prompt_tokens):
            return False
        self._look([call], keep_whole=True)
        return True

    def alive(self, key: StageKey, model: str, tokens: int) -> LengthForecast | None:
        """The lengths of outputs that come so far; None for a call that was never looked at."""
        told = self._told.get(key.workflow)
        whole = told.whole.get((key.stage, model)) if told else None
        return None if whole is None else whole.lengths(tokens)

    def under_way(self, call: StageCall) -> Unlearnt:
        """The call with its forecast."""
        told = self._told.get(call.workflow.id)
        return Unlearnt(call.features, told.whole.get((call.stage.key.stage, call.model)) if told else None)

    def end(self, call: StageCall, *, cut: bool) -> None:
        """Puts the call into its workflow's history; its forecasts are of no use any more."""
        told = self._known(call.workflow)
        told.history.add(finished_call(call, told.positions, cut=cut))
        for model in call.stage.models:
            told.whole.pop((call.stage.key.stage, model), None)

    def forget(self, workflow_id: str) -> None:
        """Lets go of all that was kept of a workflow."""
        self._told.pop(workflow_id, None)

    def learn(self, lesson: Lesson) -> None:
        """Learns on."""
        self._trained.learn(lesson)

    def state(self) -> Mapping[str, object]:
        """What was learnt since training, JSON-able."""
        return self._trained.state()

    def _look(self, calls: Sequence[StageCall], *, keep_whole: bool) -> None:
        asked = []
        for call in calls:
            told = self._known(call.workflow)
            asked.append((upcoming_call(self._scaled(call), told.positions), told.history))
        forecasts = self._trained.forecast_many(asked)
        for call, whole, lengths in zip(calls, forecasts, lengths_of(forecasts), strict=True):
            told, name = self._told[call.workflow.id], (call.stage.key.stage, call.model)
            told.lengths[name] = lengths
            if keep_whole:
                told.whole[name] = whole

    def _scaled(self, call: StageCall) -> StageCall:
        """The call with its prompt as long as the model counts such prompts."""
        if call.model in call.stage.prompts:
            return call
        tokens = max(1, round(call.prompt_tokens * self._scale.get(call.model, 1.0)))
        return StageCall(call.workflow, call.stage, call.model, tokens)

    def _known(self, workflow: WorkflowRecord) -> _Told:
        """What is kept of a workflow; of one that an earlier scheduler began, its past is put together first."""
        told = self._told.get(workflow.id)
        if told is None:
            told = self._told[workflow.id] = _Told(Positions.of(workflow.spec))
            for call in ended_calls(workflow):
                told.history.add(finished_call(call, told.positions, cut=call.stage.finish_reason == "length"))
        return told
