"""Where the core has forecasts of output lengths from. Here: role statistics, which ask for a stage's names alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from maestro.costs import LengthFeatures, LengthForecast
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_solver.predictor import LengthPredictor
from maestro_solver.predictor.lessons import Lesson, Unlearnt


@dataclass(frozen=True, slots=True)
class StageCall:
    """A stage as one of its models, with the tokens that its prompt has there, or is expected to have."""

    workflow: WorkflowRecord
    stage: StageRecord
    model: str
    prompt_tokens: int

    @property
    def features(self) -> LengthFeatures:
        """What role statistics are asked with."""
        spec = self.stage.llm
        return LengthFeatures(
            self.workflow.spec.app, spec.role, spec.phase, self.model, self.prompt_tokens, spec.max_tokens
        )


class RoleLengths:
    """Forecasts by role statistics. They are at hand for every stage at any time, so that nothing is prepared.

    The methods that do nothing here are where a predictor that looks at the call itself prepares its answers.
    """

    source = "role_statistics"
    lessons_together = 32
    """So many are learnt from at once: with every lesson forecasts are worked out anew."""

    def __init__(self, predictor: LengthPredictor, *, fallback_reason: str = "") -> None:
        """``fallback_reason``: why they stand in for the trained predictor; empty where they were asked for."""
        self._predictor = predictor
        self.fallback_reason = fallback_reason

    @property
    def identity(self) -> str:
        """Tells whose lessons can be learnt again as they are."""
        return self.source

    @property
    def drifts(self) -> int:
        """How often it was noticed that outputs are no longer what they were."""
        return 0

    def by_role(self, features: LengthFeatures) -> LengthForecast:
        """What role statistics say."""
        return self._predictor.forecast(features)

    def of(self, calls: Iterable[StageCall]) -> dict[str, LengthForecast]:
        """By model, what is forecast of one stage's calls at this time."""
        return {call.model: self.by_role(call.features) for call in calls}

    def look_ahead(self, calls: Sequence[StageCall]) -> None:
        """These are the calls of a workflow that has just been accepted."""

    def look_at(self, calls: Sequence[StageCall]) -> bool:
        """These calls are ready. Whether what is forecast of them is another thing now than it was before."""
        del calls
        return False

    def count(self, call: StageCall, expected_tokens: int) -> bool:
        """The call's prompt has been counted, and had been expected to have ``expected_tokens``.

        Whether what is forecast of it is another thing now.
        """
        del call, expected_tokens
        return False

    def alive(self, key: StageKey, model: str, tokens: int) -> LengthForecast | None:
        """The forecast of a call that has produced ``tokens`` and runs on; None where nothing is known of that."""
        del key, model, tokens
        return None

    def under_way(self, call: StageCall) -> Unlearnt:
        """A call that runs, as it is learnt from when it ends."""
        return Unlearnt(call.features)

    def end(self, call: StageCall, *, cut: bool) -> None:
        """A call has its result, which stands in its stage's record; later calls of its workflow look back on it."""

    def forget(self, workflow_id: str) -> None:
        """The workflow has ended."""

    def learn(self, lesson: Lesson) -> None:
        """An output has ended."""
        self._predictor.observe(lesson.observation)

    def state(self) -> Mapping[str, object]:
        """What was learnt, JSON-able."""
        return self._predictor.state()
