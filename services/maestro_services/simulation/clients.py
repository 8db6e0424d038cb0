"""How workflows are submitted: as a whole, or stage by stage by clients that do not know what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from maestro.workflow import Stage, WorkflowSpec
from maestro_services.simulation.prompts import SizedStage
from maestro_services.simulation.workload.truth import Arrival

_PART = "."
"""Between a workflow's id and that of the stage which is submitted by itself."""

_LEAST_S = 1e-3
"""A deadline that has passed is submitted as one so soon."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What the scheduler is sent."""

    id: str
    spec: WorkflowSpec


@dataclass(frozen=True, slots=True)
class Followed:
    """What follows from the end of something submitted.

    ``workflow``: the arrival it belongs to. ``ended``: all of that has ended, ``succeeded`` or not.
    """

    workflow: str
    ended: bool
    succeeded: bool
    next: tuple[Submission, ...] = ()


class Clients(Protocol):
    """Who submits workflows and follows them to their end."""

    def begin(self, arrival: Arrival) -> tuple[Submission, ...]:
        """What is submitted when a workflow arrives."""

    def follow(self, submitted: str, *, succeeded: bool, now: float) -> Followed:
        """Something that was submitted has ended."""

    def workflow_of(self, submitted: str) -> str:
        """The arrival that something submitted belongs to."""


class WholeWorkflows:
    """Workflows are submitted whole, as Maestro asks for them."""

    def begin(self, arrival: Arrival) -> tuple[Submission, ...]:
        """The workflow."""
        return (Submission(arrival.id, arrival.spec),)

    def follow(self, submitted: str, *, succeeded: bool, now: float) -> Followed:  # noqa: ARG002 - one signature
        """Nothing comes after it."""
        return Followed(submitted, ended=True, succeeded=succeeded)

    def workflow_of(self, submitted: str) -> str:
        """Itself."""
        return submitted


@dataclass(slots=True)
class _Open:
    """A workflow of which stages are still to come: those that wait, by id, with what each waits for."""

    arrival: Arrival
    waiting: dict[str, set[str]]
    running: set[str] = field(default_factory=set)
    failed: bool = False


class StageByStage:
    """Every stage is submitted as a workflow of its own, with the deadline of the whole, once it can start.

    So does an agent that asks for one call after the other: the scheduler knows neither what comes next nor that
    calls belong together.
    """

    def __init__(self) -> None:
        """No workflow is under way."""
        self._open: dict[str, _Open] = {}

    def begin(self, arrival: Arrival) -> tuple[Submission, ...]:
        """The stages that come after nothing."""
        opened = _Open(arrival, {stage.id: set(stage.after) for stage in arrival.spec.stages})
        self._open[arrival.id] = opened
        return tuple(self._submit(opened, arrival.at_s))

    def follow(self, submitted: str, *, succeeded: bool, now: float) -> Followed:
        """The stages that waited for this one alone; after a failure nothing more is submitted."""
        workflow, _, stage = submitted.partition(_PART)
        opened = self._open[workflow]
        opened.running.discard(stage)
        opened.failed |= not succeeded
        for missing in opened.waiting.values():
            missing.discard(stage)
        found = () if opened.failed else tuple(self._submit(opened, now))
        ended = not opened.running
        if ended:
            del self._open[workflow]
        return Followed(workflow, ended, succeeded=ended and not opened.failed, next=found)

    def workflow_of(self, submitted: str) -> str:
        """The part of the name before the stage's."""
        return submitted.partition(_PART)[0]

    def _submit(self, opened: _Open, now: float) -> Iterator[Submission]:
        arrival = opened.arrival
        left_s = max(_LEAST_S, arrival.at_s + arrival.deadline_after_s - now)
        for stage in arrival.spec.stages:
            if stage.id in opened.waiting and not opened.waiting[stage.id]:
                del opened.waiting[stage.id]
                opened.running.add(stage.id)
                spec = replace(arrival.spec, stages=(_by_itself(stage),), deadline_after_s=left_s)
                yield Submission(f"{arrival.id}{_PART}{stage.id}", spec)


def _by_itself(stage: Stage) -> Stage:
    """The stage with its whole prompt known, since what it quotes has ended."""
    if isinstance(stage, SizedStage):
        return replace(stage, after=(), own_tokens=stage.prompt_tokens)
    return replace(stage, after=())
