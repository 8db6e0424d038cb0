"""How a watch survives broken streams: a pure state machine that both clients drive.

The stream ends when the workflow's final state has been told. Where it breaks before, it is asked for again from the
last sequence number seen; attempts without any progress are spaced out and bounded.
"""

from __future__ import annotations

from maestro.client.arguments import checked_seconds, checked_sequence, checked_text
from maestro.codec import event_from_proto
from maestro.errors import MaestroError, OverloadedError, UnreachableError
from maestro.events import Event, StageRestarted, StageTokens, WorkflowChanged
from maestro.status import WorkflowState
from maestro.v1 import scheduler_pb2 as pb

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 5.0


class Watch:
    """One watch of one workflow. ``patience_s`` bounds the waiting since the last event before it gives up.

    Raises InvalidInputError for values that cannot be sent.
    """

    def __init__(self, workflow_id: str, after_sequence: int, tokens: bool, patience_s: float) -> None:
        self._workflow_id = checked_text("workflow_id", workflow_id)
        self._last_sequence = checked_sequence("after_sequence", after_sequence)
        self._tokens = bool(tokens)
        self._patience_s = checked_seconds("patience_s", patience_s)
        self._waited_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self.ended = False

    def request(self) -> pb.WatchWorkflowRequest:
        """Return the request for what has not been seen yet."""
        return pb.WatchWorkflowRequest(
            workflow_id=self._workflow_id, after_sequence=self._last_sequence, tokens=self._tokens
        )

    def take(self, message: pb.WatchWorkflowResponse) -> tuple[Event, ...]:
        """Decode an event; nothing where it is a transition seen before. Sets ``ended`` with the final state."""
        event = event_from_proto(message)
        self._waited_s, self._delay_s = 0.0, FIRST_DELAY_S
        if isinstance(event, StageTokens | StageRestarted):  # neither is a transition: they have no sequence number
            return (event,)
        if event.sequence <= self._last_sequence:
            return ()
        self._last_sequence = event.sequence
        if isinstance(event, WorkflowChanged) and event.status.state is not WorkflowState.ACTIVE:
            self.ended = True
        return (event,)

    def delay_after(self, error: MaestroError) -> float:
        """Return how long to wait before the next request, seconds; raises ``error`` where waiting will not help."""
        resumable = isinstance(error, UnreachableError | OverloadedError)
        if not resumable or self._waited_s >= self._patience_s:
            raise error
        delay_s = min(self._delay_s, MAX_DELAY_S)
        self._waited_s += delay_s
        self._delay_s *= 2
        return delay_s
