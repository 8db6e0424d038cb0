"""Group commit: one thread takes whatever waits, writes it in one transaction, and says so when it is durable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import insert

from maestro.codec import workflow_status_to_proto
from maestro.v1 import scheduler_pb2
from maestro_services.scheduler.core.outcome import Transition, WorkflowAccepted, WorkflowEnded
from maestro_services.scheduler.store.tables import facts, transitions, workflows
from maestro_services.scheduler.wire import transition_to_wire

LARGEST_GROUP = 512
ROWS_PER_STATEMENT = 64


@dataclass(frozen=True, slots=True)
class Write:
    """What belongs together: transitions, named facts, and what to do once both are durable.

    ``durable`` is called in the writer's thread with the transitions in their wire form.
    """

    transitions: Sequence[Transition]
    facts: Sequence[tuple[str, bytes]]
    durable: Callable[[list[scheduler_pb2.WatchWorkflowResponse]], None]


class Writer:
    """The only thread that writes. A failed commit is final: ``failed`` is called once and nothing more is written.

    That holds for a second row under one idempotency key, too. Submissions lets none through, and a store has one
    owner; leaving out such a row would have the core run a workflow that the store does not know.
    """

    def __init__(self, engine: Engine, failed: Callable[[BaseException], None]) -> None:
        """Starts the thread on a connection of its own."""
        self._engine = engine
        self._failed = failed
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Queues a write behind all earlier ones."""
        self._queue.put(write)

    def close(self) -> None:
        """Writes what is queued, then ends the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._engine.connect() as connection:
                while (group := self._next_group()) is not None:
                    encoded = [[transition_to_wire(t) for t in write.transitions] for write in group]
                    _commit(connection, group, encoded)
                    for write, events in zip(group, encoded, strict=True):
                        write.durable(events)
        except BaseException as error:  # whatever it was, nothing later may be taken for durable
            self._failed(error)

    def _next_group(self) -> list[Write] | None:
        """Waits for a write and takes those behind it along; None when the writer is closed."""
        first = self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < LARGEST_GROUP:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            group.append(following)
        return group


def _commit(
    connection: Connection, group: list[Write], encoded: list[list[scheduler_pb2.WatchWorkflowResponse]]
) -> None:
    """Writes one group in one transaction."""
    accepted: list[dict[str, Any]] = []
    ended: list[WorkflowEnded] = []
    events: list[dict[str, Any]] = []
    for write, messages in zip(group, encoded, strict=True):
        for transition, message in zip(write.transitions, messages, strict=True):
            workflow_id = _workflow_id(transition)
            events.append(
                {
                    "sequence": transition.sequence,
                    "workflow_id": workflow_id,
                    "event": message.SerializeToString(),
                }
            )
            if isinstance(transition, WorkflowAccepted):
                accepted.append(_row(transition, message))
            elif isinstance(transition, WorkflowEnded):
                ended.append(transition)
    named = {name: value for write in group for name, value in write.facts}
    if not (events or named):
        return
    with connection.begin():
        _insert(connection, workflows, accepted)
        _insert(connection, transitions, events)
        for transition in ended:
            connection.execute(
                workflows.update()
                .where(workflows.c.id == transition.status.id)
                .values(
                    state=transition.status.state,
                    status=workflow_status_to_proto(transition.status).SerializeToString(),
                )
            )
        for name, value in named.items():
            statement = insert(facts).values(name=name, value=value)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Inserts rows, many in one statement.

    SQLite's driver lets go of the interpreter's lock for every statement; with a statement a row, a busy event loop
    would hold the writer up after each.
    """
    names = list(rows[0]) if rows else []
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        chunk = rows[start : start + ROWS_PER_STATEMENT]
        one = f"({', '.join('?' * len(names))})"
        values = ", ".join([one] * len(chunk))
        statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {values}"  # noqa: S608 - names of our own
        connection.exec_driver_sql(statement, tuple(value for row in chunk for value in row.values()))


def _workflow_id(transition: Transition) -> str:
    """The workflow a transition belongs to."""
    if isinstance(transition, WorkflowAccepted | WorkflowEnded):
        return transition.status.id
    return transition.workflow_id


def _row(transition: WorkflowAccepted, message: scheduler_pb2.WatchWorkflowResponse) -> dict[str, Any]:
    status = transition.status
    return {
        "number": transition.sequence,
        "id": status.id,
        "tenant": status.tenant,
        "idempotency_key": transition.idempotency_key or None,
        "payload_hash": transition.payload_hash,
        "payload": transition.payload,
        "state": status.state,
        "accepted_at_s": status.accepted_at_s,
        "status": message.workflow.SerializeToString(),
    }
