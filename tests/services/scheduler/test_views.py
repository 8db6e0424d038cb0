"""Tests that what watchers are told survives the way to the client: events of the server, read by the client."""

from __future__ import annotations

from maestro.client.watching import Watch
from maestro.codec import stage_status_to_proto
from maestro.codec.scalars import instant_to_proto
from maestro.events import StageChanged, StageRestarted, StageTokens
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus
from maestro.v1 import scheduler_pb2
from maestro_services.scheduler.core import outcome
from maestro_services.scheduler.views import Views


async def test_a_watcher_learns_that_an_attempts_tokens_are_void() -> None:
    """Tests that the restart arrives before the transition that goes with it, also late in a watch."""
    views, status = Views(10), StageStatus("draft", StageState.WAITING, reason=Reason.ENGINE_DIED, attempts=1)
    event = scheduler_pb2.WatchWorkflowResponse(
        sequence=7, at=instant_to_proto(20.0), stage=stage_status_to_proto(status)
    )
    watch = Watch("w1", 6, tokens=True, patience_s=1.0)
    with views.watch("w1", tokens=True) as watcher:
        views.apply(outcome.StageChanged(7, 20.0, "w1", status, voided_attempt="t1"), event)
        told = [watch.take(await watcher.next()) for _ in range(2)]
    assert told == [
        (StageRestarted(0, 20.0, "draft", "t1", Reason.ENGINE_DIED),),
        (StageChanged(7, 20.0, status),),
    ]


async def test_tokens_are_dated() -> None:
    """Tests that a client can tell when output came, not only what."""
    views = Views(10, wall_time=lambda: 12.5)
    with views.watch("w1", tokens=True) as watcher:
        views.tokens("w1", "draft", "t1", 3, "Hello")
        event = await watcher.next()
    assert Watch("w1", 0, tokens=True, patience_s=1.0).take(event) == (StageTokens(12.5, "draft", "t1", 3, "Hello"),)
