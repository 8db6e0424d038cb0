"""What clients may see: the durable state of workflows, and the streams of those who watch them.

Only what the store has made durable comes here, so nothing that was shown can be unhappened by a crash. Token
events are the exception: they are ephemeral by contract.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maestro.codec import workflow_status_to_proto
from maestro.codec.scalars import instant_to_proto
from maestro.status import WorkflowStatus
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro_services.scheduler.core.outcome import StageChanged, Transition, WorkflowAccepted, WorkflowEnded

ENDED_KEPT = 512

WatchEvent = scheduler_pb2.WatchWorkflowResponse


class Watcher:
    """One client's stream: a bounded buffer that is closed, not blocked on, when the client is too slow."""

    def __init__(self, buffer: int, *, tokens: bool) -> None:
        """``tokens``: whether token events are wanted."""
        self.tokens = tokens
        self.overflowed = False
        self._queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue(buffer)

    def offer(self, event: WatchEvent) -> None:
        """Puts an event in; a full buffer ends the stream."""
        if self.overflowed:
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overflowed = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)

    async def next(self) -> WatchEvent | None:
        """The next event; None when the buffer has overflowed."""
        return await self._queue.get()


class Views:
    """Durable views of active and recently ended workflows."""

    def __init__(self, watcher_buffer: int, wall_time: Callable[[], float] = time.time) -> None:
        """``watcher_buffer`` bounds each watcher's events not yet sent; ``wall_time`` dates tokens, epoch seconds."""
        self._buffer = watcher_buffer
        self._wall_time = wall_time
        self._accepted: dict[str, WorkflowStatus] = {}
        self._active: dict[str, workflow_pb2.WorkflowStatus] = {}
        self._positions: dict[str, dict[str, int]] = {}
        self._ended: OrderedDict[str, workflow_pb2.WorkflowStatus] = OrderedDict()
        self._watchers: dict[str, list[Watcher]] = {}

    def restore(self, status: workflow_pb2.WorkflowStatus) -> None:
        """Shows a workflow that an earlier scheduler had accepted."""
        self._active[status.id] = status

    def apply(self, transition: Transition, event: WatchEvent) -> None:
        """Shows a transition that is durable now, and hands it to those who watch."""
        match transition:
            case WorkflowAccepted():
                self._accepted[transition.status.id] = transition.status
                self._publish(transition.status.id, event)
            case WorkflowEnded():
                self._end(transition)
                self._publish(transition.status.id, event)
            case StageChanged():
                self._change_stage(transition, event)
                if transition.voided_attempt:
                    self._publish(transition.workflow_id, _restarted(transition, event))
                self._publish(transition.workflow_id, event)

    def tokens(self, workflow_id: str, stage_id: str, attempt_id: str, offset: int, text: str) -> None:
        """Hands new output to those who watch the workflow's tokens."""
        wanting = [w for w in self._watchers.get(workflow_id, ()) if w.tokens]
        if wanting:
            event = WatchEvent(
                at=instant_to_proto(self._wall_time()),
                tokens=scheduler_pb2.StageTokens(stage_id=stage_id, attempt_id=attempt_id, offset=offset, text=text),
            )
            for watcher in wanting:
                watcher.offer(event)

    def get(self, workflow_id: str) -> workflow_pb2.WorkflowStatus | None:
        """The workflow's durable status; None where it is not in memory (it may be in the store)."""
        return self._current(workflow_id) or self._ended.get(workflow_id)

    @contextmanager
    def watch(self, workflow_id: str, *, tokens: bool) -> Iterator[Watcher]:
        """A stream of the workflow's events from now on."""
        watcher = Watcher(self._buffer, tokens=tokens)
        self._watchers.setdefault(workflow_id, []).append(watcher)
        try:
            yield watcher
        finally:
            watching = self._watchers[workflow_id]
            watching.remove(watcher)
            if not watching:
                del self._watchers[workflow_id]

    def _current(self, workflow_id: str) -> workflow_pb2.WorkflowStatus | None:
        """An active workflow; one that nobody has asked for since it was accepted is encoded now."""
        accepted = self._accepted.pop(workflow_id, None)
        if accepted is not None:
            self._active[workflow_id] = workflow_status_to_proto(accepted)
        return self._active.get(workflow_id)

    def _end(self, transition: WorkflowEnded) -> None:
        status = self._current(transition.status.id)
        self._active.pop(transition.status.id)
        self._positions.pop(transition.status.id, None)
        stages = list(status.stages) if status is not None else []
        ended = workflow_status_to_proto(transition.status)
        ended.stages.extend(stages)
        self._ended[ended.id] = ended
        while len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)

    def _change_stage(self, transition: StageChanged, event: WatchEvent) -> None:
        status = self._current(transition.workflow_id)
        if status is None:
            return
        status.sequence = transition.sequence
        position = self._stage_positions(status).get(event.stage.id)
        if position is not None:
            status.stages[position].CopyFrom(event.stage)

    def _stage_positions(self, status: workflow_pb2.WorkflowStatus) -> dict[str, int]:
        """Where each stage stands in its workflow's status: thousands of them may change in one event."""
        positions = self._positions.get(status.id)
        if positions is None:
            positions = {stage.id: position for position, stage in enumerate(status.stages)}
            self._positions[status.id] = positions
        return positions

    def _publish(self, workflow_id: str, event: WatchEvent) -> None:
        for watcher in self._watchers.get(workflow_id, ()):
            watcher.offer(event)


def _restarted(transition: StageChanged, event: WatchEvent) -> WatchEvent:
    """Tells watchers that an attempt's tokens are void."""
    return WatchEvent(
        at=event.at,
        restarted=scheduler_pb2.StageRestarted(
            stage_id=transition.status.id,
            attempt_id=transition.voided_attempt,
            reason=transition.status.reason or "",
        ),
    )
