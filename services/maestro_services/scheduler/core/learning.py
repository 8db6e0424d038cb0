"""What ended calls teach: gathered, handed to the predictor together, and kept so that the next scheduler knows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from maestro.costs import CoverageCounts, LengthOutcome
from maestro.errors import InvalidInputError
from maestro.workflow import LlmStage
from maestro_services.scheduler.core.accelerator_records import Attempt
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.lengths import RoleLengths, StageCall
from maestro_services.scheduler.core.lesson_log import LessonLog
from maestro_services.scheduler.core.outcome import Outcome
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_solver.predictor.lessons import Lesson, Unlearnt


class Learning:
    """Gathers lessons. ``log`` is None where what was learnt is not to be kept."""

    def __init__(self, lengths: RoleLengths, costing: Costing, log: LessonLog | None) -> None:
        """``costing`` says what was forecast of a stage."""
        self._lengths = lengths
        self._costing = costing
        self._log = log
        self._unlearnt: list[Callable[[], Lesson]] = []
        self.coverage = CoverageCounts()

    @property
    def is_due(self) -> bool:
        """Whether half of what is learnt together has gathered: who learns between events then never does in one."""
        return 2 * len(self._unlearnt) >= self._lengths.lessons_together

    def end(self, workflow: WorkflowRecord, stage: StageRecord, attempt: Attempt) -> None:
        """A call has its result. Forced lengths and those that no output can have teach nothing."""
        if stage.usage is None:
            return
        call = StageCall(workflow, stage, attempt.model, stage.usage.prompt_tokens)
        under_way, cut = self._lengths.under_way(call), stage.finish_reason == "length"
        self._lengths.end(call, cut=cut)
        if is_forced(stage.llm):
            return
        tokens = stage.usage.completion_tokens
        forecast = self._costing.cost(workflow, stage).forecasts.get(attempt.model)
        if forecast is not None and not cut:
            self.coverage = self.coverage.counted(forecast, tokens)
        outcome = LengthOutcome.CENSORED if cut else LengthOutcome.COMPLETE
        self._add(partial(under_way.lesson, tokens, outcome))

    def under_way(self, workflow: WorkflowRecord, stage: StageRecord, attempt: Attempt) -> Unlearnt | None:
        """What is to be kept of an attempt that is told to stop; None where that can teach nothing."""
        if not isinstance(stage.spec, LlmStage) or is_forced(stage.spec):
            return None
        return self._lengths.under_way(StageCall(workflow, stage, attempt.model, stage.prompt_tokens))

    def stop(self, unlearnt: Unlearnt, tokens: int) -> None:
        """A call was stopped after so many tokens: it would have had more."""
        if tokens > 0:
            self._add(partial(unlearnt.lesson, tokens, LengthOutcome.CENSORED))

    def forget(self, workflow_id: str) -> None:
        """A workflow has ended."""
        self._lengths.forget(workflow_id)

    def learn(self) -> None:
        """Hands what was gathered to the predictor. What a node says that no output can have teaches nothing."""
        for make in self._unlearnt:
            with suppress(InvalidInputError):
                lesson = make()
                self._lengths.learn(lesson)
                if self._log is not None:
                    self._log.add(lesson)
        self._unlearnt.clear()

    def keep(self, outcome: Outcome, *, any_will_do: bool) -> None:
        """Has what was learnt kept if a page of it is full, or, with ``any_will_do``, if there is anything new."""
        if self._log is not None and self._log.is_due(any_will_do=any_will_do):
            outcome.effects += self._log.saves(self._lengths.state)

    def _add(self, lesson: Callable[[], Lesson]) -> None:
        """Lessons are made when they are learnt: the call's result does not wait for it."""
        self._unlearnt.append(lesson)
        if len(self._unlearnt) >= self._lengths.lessons_together:
            self.learn()


def is_forced(spec: LlmStage) -> bool:
    """Whether the output's length was dictated, so that it says nothing of what the model would have written."""
    return spec.sampling.min_tokens is not None or bool(spec.sampling.ignore_eos)
