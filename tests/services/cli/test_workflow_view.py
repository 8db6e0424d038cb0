"""Claims about how a workflow is shown: in a line of `maestro status`, and in full by `maestro show`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest
from rich.console import Console

from maestro.costs import LengthForecast
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro_services.cli.wording import counted, instant_text
from maestro_services.cli.workflow_view import deadline_text, progress_text, workflow_view

DONE = StageStatus(
    "plan",
    StageState.SUCCEEDED,
    reason=Reason.COMPLETED,
    role="planner",
    model="small",
    accelerator="gpu-0",
    attempts=1,
    forecast=LengthForecast(50.0, 90.0, 120.0),
    usage=TokenUsage(20, 64),
    started_at_s=100.0,
    ended_at_s=103.5,
)
RETRIED = StageStatus("draft", StageState.WAITING, reason=Reason.NODE_LOST, detail="not heard of", attempts=2)
LATER = StageStatus("final", StageState.WAITING, reason=Reason.WAITING_FOR_PREDECESSORS)
ACTIVE = WorkflowStatus(
    "w1", "default", "app", "standard", WorkflowState.ACTIVE, 99.0, 200.0, stages=(DONE, RETRIED, LATER)
)


def test_progress_says_how_many_stages_are_done_and_what_holds_the_next_up() -> None:
    """Tests a stage that is tried again, one that loads, one that runs, and several at once."""
    assert progress_text(ACTIVE) == "1/3, draft: retry 2, node lost"
    note = "waiting for small to load on gpu-0 (12 s of about 45 s)"
    loads = replace(RETRIED, reason=Reason.WAITING_FOR_LOAD, detail=note, attempts=0)
    assert progress_text(replace(ACTIVE, stages=(DONE, loads, LATER))) == f"1/3, draft: {note}"
    runs = replace(RETRIED, state=StageState.RUNNING, reason=None, attempts=2)
    assert progress_text(replace(ACTIVE, stages=(DONE, runs, LATER))) == "1/3, draft: running, retry 1"
    assert progress_text(replace(ACTIVE, stages=(DONE, runs, RETRIED))).endswith("node lost (and 1 more)")
    assert progress_text(replace(ACTIVE, state=WorkflowState.CANCELLED)) == "1/3"


def test_a_workflow_in_full_has_reasons_places_attempts_and_lengths_against_forecasts() -> None:
    """Tests what `maestro show` prints."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(workflow_view(ACTIVE, 110.0))
    shown = capture.get()
    for part in ("node lost: not heard of", "small on gpu-0", "3.5", "64", "50/120", "3 stages"):
        assert part in shown


@pytest.mark.parametrize(
    ("state", "ended_at_s", "ending"),
    [
        (WorkflowState.SUCCEEDED, 150.0, " met"),
        (WorkflowState.SUCCEEDED, 250.0, " missed"),
        (WorkflowState.FAILED, 250.0, " missed"),
    ],
)
def test_a_deadline_says_how_it_was_kept(state: WorkflowState, ended_at_s: float, ending: str) -> None:
    """Tests what ran to its end, or past its deadline."""
    assert deadline_text(replace(ACTIVE, state=state, ended_at_s=ended_at_s), 200.0).endswith(ending)


@pytest.mark.parametrize("state", [WorkflowState.CANCELLED, WorkflowState.FAILED])
def test_what_was_given_up_before_its_deadline_has_missed_nothing(state: WorkflowState) -> None:
    """Tests a cancelled workflow, and one that failed early."""
    assert deadline_text(replace(ACTIVE, state=state, ended_at_s=150.0), 200.0) == "-"


def test_an_instant_of_another_day_has_its_date() -> None:
    """Tests that a deadline of next week is not taken for one of today."""
    assert instant_text(3_600.0, 7_200.0, UTC) == "01:00:00"
    assert instant_text(90_000.0, 7_200.0, UTC) == "1970-01-02 01:00:00"


def test_one_is_not_a_plural() -> None:
    """Tests both numbers."""
    assert (counted(1, "stage"), counted(2, "stage"), counted(0, "stage")) == ("1 stage", "2 stages", "0 stages")
