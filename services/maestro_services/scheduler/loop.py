"""The live loop: events into the core, transitions into the store, then effects into the world.

Effects follow what they stand on once it survives the end of this process: a start that a power failure makes forgotten
is cancelled where it runs, and made again. What cannot be made again waits until it is durable: what is shown to
clients, and that a node may forget a result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import orjson

from maestro.errors import UnreachableError
from maestro_services.scheduler.core.core import SchedulerCore
from maestro_services.scheduler.core.events import Event, LessonsDue, PlanDue, Tick
from maestro_services.scheduler.core.outcome import (
    AcknowledgeAttempts,
    CancelAttempt,
    Effect,
    Outcome,
    ReportFallback,
    ReportPlan,
    SaveDrainedNodes,
    SavePredictor,
)
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.fleet_log import FleetLog, plan_line
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.store.writer import WireEvents, Write
from maestro_services.scheduler.views import Views

DRAINED_FACT = "drained_nodes"
FORGETTING = (AcknowledgeAttempts, CancelAttempt)
"""Effects after which a node may forget a result."""

log = logging.getLogger(__name__)


class Clock:
    """Seconds since the epoch that never go back: wall time at the start, monotonic from there."""

    def __init__(self) -> None:
        """Anchors the clock at the present."""
        self.offset_s = time.time() - time.monotonic()

    def now(self) -> float:
        """The present instant."""
        return self.offset_s + time.monotonic()


@dataclass(frozen=True, slots=True)
class _Pending:
    """An outcome on its way through the store; each of ``settled`` is told when it is durable."""

    outcome: Outcome
    settled: list[asyncio.Future[None]]


class SchedulerLoop:
    """Owns the core. Everything here runs on one event loop."""

    def __init__(
        self,
        core: SchedulerCore,
        store: Store,
        views: Views,
        carry_out: Callable[[Effect], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``carry_out`` is given each effect once the transitions before it are written, or durable where it must be.

        ``failed`` is called when the core cannot be trusted any more: an event raised half way through. What is
        durable is whole, so another scheduler can take over from it.
        """
        self.core = core
        self.clock = Clock()
        self.plans: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self._store = store
        self._views = views
        self._carry_out = carry_out
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._in_store = 0
        self._newest = _Pending(Outcome(), [])
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._afterwards_is_due = False
        self._fleet_log = FleetLog()

    def restore(self, workflows: list[RestoredWorkflow]) -> None:
        """Takes over what an earlier scheduler had accepted and not ended; the views have it already."""
        self._settle(self.core.restore(workflows, self.clock.now()), None)

    def start(self) -> None:
        """Begins to keep time."""
        self._tick()

    def close(self) -> None:
        """Takes no more events."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def post(self, event: Event) -> None:
        """Handles an event; what follows from it happens as soon as it may."""
        self._handle(event, None)

    async def post_durably(self, event: Event) -> None:
        """Handles an event and waits until its transitions are durable."""
        settled = self._loop.create_future()
        self._handle(event, settled)
        await settled

    async def all_durable(self) -> None:
        """Waits until everything that is written by now is durable."""
        if self._in_store:
            settled = self._loop.create_future()
            self._newest.settled.append(settled)
            await settled

    @property
    def in_store(self) -> int:
        """Outcomes that wait for their commit."""
        return self._in_store

    def _handle(self, event: Event, settled: asyncio.Future[None] | None) -> None:
        if self._closed:
            if settled is not None:
                settled.set_exception(UnreachableError("the scheduler is stopping; send it again to the next one"))
            return
        now = self.clock.now()
        with self._giving_up():
            self._settle(self.core.handle(event, now), settled)
            self._fleet_log.observe(event, self.core.nodes)
        if not self._afterwards_is_due:
            self._afterwards_is_due = True
            self._loop.call_later(0.0, self._afterwards)

    def _afterwards(self) -> None:
        """What can wait until the turn's transitions are written and its commands sent: lessons, and the next plan."""
        self._afterwards_is_due = False
        if self._closed:
            return
        now = self.clock.now()
        with self._giving_up():
            if self.core.lessons_are_due:
                self._settle(self.core.handle(LessonsDue(), now), None)
            if self.core.plan_is_due(now):
                self._settle(self.core.handle(PlanDue(), now), None)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Stops the scheduler where anything raises."""
        try:
            yield
        except Exception as error:
            log.critical("the scheduler cannot go on", exc_info=error)
            self.close()
            self._failed(error)
            raise

    def _settle(self, outcome: Outcome, settled: asyncio.Future[None] | None) -> None:
        """Sends an outcome through the store; one that leaves nothing to store goes ahead if nothing is before it."""
        facts = [fact for effect in outcome.effects if (fact := _fact(effect)) is not None]
        pending = _Pending(outcome, [settled] if settled is not None else [])
        if not outcome.transitions and not facts and not self._in_store:
            self._on_written(pending)
            self._show(pending, [])
            return
        self._in_store += 1
        self._newest = pending
        durable = partial(self._on_durable, pending)
        self._store.write(Write(outcome.transitions, facts, durable, partial(self._on_written, pending)))

    def _on_written(self, pending: _Pending) -> None:
        with self._giving_up():
            for effect in pending.outcome.effects:
                self._follow(effect)

    def _on_durable(self, pending: _Pending, wire: WireEvents) -> None:
        self._in_store -= 1
        with self._giving_up():
            self._show(pending, wire)

    def _show(self, pending: _Pending, wire: WireEvents) -> None:
        for transition, event in zip(pending.outcome.transitions, wire, strict=True):
            self._views.apply(transition, event)
        for settled in pending.settled:
            if not settled.done():
                settled.set_result(None)
        for effect in pending.outcome.effects:
            if isinstance(effect, FORGETTING):
                self._carry_out(effect)

    def _follow(self, effect: Effect) -> None:
        match effect:
            case ReportPlan(provenance):
                self.plans[provenance.source] += 1
                log.info("plan in force: %s", plan_line(provenance, self.core.plan))
            case ReportFallback(reason):
                self.fallbacks[reason] += 1
                log.info("plan fallback: %s", reason)
            case SavePredictor() | SaveDrainedNodes():
                pass  # went to the store with the transitions
            case AcknowledgeAttempts() | CancelAttempt():
                pass  # what makes a result worthless must be durable
            case _:
                self._carry_out(effect)

    def _tick(self) -> None:
        if self._closed:
            return
        self.post(Tick())
        now = self.clock.now()
        self._timer = self._loop.call_later(max(0.005, self.core.next_wakeup(now) - now), self._tick)


def _fact(effect: Effect) -> tuple[str, bytes] | None:
    """What an effect wants to be kept under a name, if that is what it wants."""
    match effect:
        case SavePredictor(name, value):
            return name, orjson.dumps(value)
        case SaveDrainedNodes(nodes):
            return DRAINED_FACT, orjson.dumps(sorted(nodes))
        case _:
            return None
