"""The live loop: what follows from an event waits for the store."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from core_driver import core_config
from service_world import PATIENCE_S, call, fleet

from maestro.errors import UnreachableError
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import SchedulerCore
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.outcome import AcknowledgeAttempts, Effect, LoadReplica, RequestPlan
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.store.writer import Write
from maestro_services.scheduler.views import Views
from maestro_services.scheduler.wire import transition_to_wire
from maestro_solver.predictor import LengthPredictor


class SlowStore:
    """A store that writes and flushes when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Write] = []
        self.written: list[Write] = []

    def write(self, write: Write) -> None:
        self.waiting.append(write)

    def commit(self) -> None:
        """Writes everything that waits."""
        group, self.waiting = self.waiting, []
        self.written += group
        for write in group:
            write.written()

    def flush(self) -> None:
        """Makes everything durable that has been written."""
        for write in self.written:
            write.durable([transition_to_wire(transition) for transition in write.transitions])
        self.written.clear()


def raising(error: BaseException) -> None:
    raise error


async def test_an_event_that_breaks_the_core_stops_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that raised half way through cannot be trusted; what is durable is whole, and the next one goes on."""
    failures: list[BaseException] = []
    core = SchedulerCore(core_config(), RoleLengths(LengthPredictor()), epoch=1)
    loop = SchedulerLoop(core, cast("Store", SlowStore()), Views(watcher_buffer=10), [].append, failures.append)

    def broken(event: on.Event, now: float) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(core, "handle", broken)
    with pytest.raises(KeyError):
        loop.post(on.Tick())
    assert [type(error) for error in failures] == [KeyError]
    with pytest.raises(UnreachableError):
        await loop.post_durably(on.Tick())


async def test_effects_wait_until_they_are_written_and_views_until_they_are_durable() -> None:
    """Tests invariant: nothing is shown, and no node forgets a result, before it is durable."""
    effects: list[Effect] = []
    store, views = SlowStore(), Views(watcher_buffer=10)
    core = SchedulerCore(core_config(), RoleLengths(LengthPredictor()), epoch=1)
    loop = SchedulerLoop(core, cast("Store", store), views, effects.append, raising)
    loop.post(on.NodeRegistered("left-node", "i", "127.0.0.1:1", frozenset(fleet().models)))
    loop.post(on.NodeStatusReported("left-node", "i", (), ()))
    spec = WorkflowSpec("essays", (call("only"),))
    submitting = asyncio.create_task(loop.post_durably(on.WorkflowSubmitted("w1", spec, b"", "")))
    await asyncio.sleep(0)
    assert store.waiting
    assert views.get("w1") is None
    assert not [effect for effect in effects if isinstance(effect, RequestPlan)]
    assert not submitting.done()
    loop.post(on.NodeStatusReported("left-node", "i", (), (on.AttemptReport("gone/x/1", running=False),)))
    store.commit()
    await asyncio.sleep(0.01)  # the plan is asked for once the loop has nothing more urgent
    store.commit()
    assert [effect for effect in effects if isinstance(effect, RequestPlan)]
    assert not [effect for effect in effects if isinstance(effect, AcknowledgeAttempts)]
    assert views.get("w1") is None
    assert not submitting.done()
    store.flush()
    await asyncio.wait_for(submitting, PATIENCE_S)
    assert views.get("w1") is not None
    assert [effect for effect in effects if isinstance(effect, AcknowledgeAttempts)]
    assert not [effect for effect in effects if isinstance(effect, LoadReplica)]
    loop.close()


async def test_what_leaves_nothing_to_store_does_not_wait() -> None:
    effects: list[Effect] = []
    store = SlowStore()
    core = SchedulerCore(core_config(), RoleLengths(LengthPredictor()), epoch=1)
    loop = SchedulerLoop(core, cast("Store", store), Views(watcher_buffer=10), effects.append, raising)
    loop.post(on.NodeRegistered("left-node", "i", "127.0.0.1:1", frozenset(fleet().models)))
    loop.post(on.NodeStatusReported("left-node", "i", (), (on.AttemptReport("gone/x/1", running=True),)))
    assert effects
    assert store.waiting == []
    loop.close()
