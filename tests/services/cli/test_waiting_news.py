"""Claims about how often a watcher is told why stages wait."""

from __future__ import annotations

from maestro.reasons import Reason
from maestro.status import StageState, StageStatus
from maestro_services.cli.waiting_news import REPEAT_AFTER_S, WaitingNews


def waiting(reason: Reason, detail: str = "") -> StageStatus:
    return StageStatus("draft", StageState.WAITING, reason=reason, detail=detail)


def told(*looks: tuple[float, StageStatus]) -> list[tuple[Reason | None, str]]:
    """Look several times; returns what was told."""
    found: list[tuple[Reason | None, str]] = []
    news = WaitingNews(lambda _workflow_id, stage: found.append((stage.reason, stage.detail)))
    for now_s, stage in looks:
        news.take("w1", stage, now_s)
    return found


def test_a_load_is_told_at_once_and_then_only_now_and_then() -> None:
    """Tests that a watcher sees progress and no flood."""
    looks = [(second, waiting(Reason.WAITING_FOR_LOAD, f"loading ({second} s of about 45 s)")) for second in range(21)]
    assert told(*looks) == [
        (Reason.WAITING_FOR_LOAD, f"loading ({second} s of about 45 s)")
        for second in range(0, 21, round(REPEAT_AFTER_S))
    ]


def test_another_reason_is_told_at_once_and_the_same_one_never_again() -> None:
    """Tests what has no progress to tell."""
    plan, room = waiting(Reason.WAITING_FOR_PLAN), waiting(Reason.WAITING_FOR_BATCH_SLOT)
    assert told((0.0, plan), (1.0, plan), (2.0, room), (500.0, room)) == [(plan.reason, ""), (room.reason, "")]


def test_a_stage_that_waits_for_others_is_nobodys_news() -> None:
    """Tests that only what could run is told of."""
    assert told((0.0, waiting(Reason.WAITING_FOR_PREDECESSORS))) == []
