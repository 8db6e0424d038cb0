"""Group commit: whatever was written since the last turn of the event loop becomes durable in one transaction.

Commits run on the event loop's own thread: handed to another one, each step of a commit waits for the interpreter's
lock, which takes longer than the commit itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import insert

from maestro.codec import workflow_status_to_proto
from maestro.v1 import scheduler_pb2
from maestro_services.scheduler.core.outcome import Transition, WorkflowAccepted, WorkflowEnded
from maestro_services.scheduler.store.tables import facts, transitions, workflows
from maestro_services.scheduler.wire import transition_to_wire

ROWS_PER_STATEMENT = 64
COMMITS_PER_CHECKPOINT = 200
GATHERING_PER_WRITE_S = 0.002
LONGEST_GATHERING_S = 0.02
"""Where writes come faster than one a commit, the next ones are waited for, the longer the more there were: a single
write is committed at once, and a flood of them needs few flushes of the disk."""


@dataclass(frozen=True, slots=True)
class Write:
    """What belongs together: transitions, named facts, and what to do once both are durable.

    ``durable`` is called with the transitions in their wire form.
    """

    transitions: Sequence[Transition]
    facts: Sequence[tuple[str, bytes]]
    durable: Callable[[list[scheduler_pb2.WatchWorkflowResponse]], None]


class Writer:
    """Commits what is written. A failed commit is final: ``failed`` is called once and nothing more is written.

    That holds for a second row under one idempotency key, too. Submissions lets none through, and a store has one
    owner; leaving out such a row would have the core run a workflow that the store does not know.
    """

    def __init__(
        self,
        engine: Engine,
        failed: Callable[[BaseException], None],
        schedule: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """``schedule`` runs a commit after so many seconds on the caller's thread: the event loop's ``call_later``."""
        self._engine = engine
        self._connection = engine.connect()
        self._failed = failed
        self._schedule = schedule
        self._waiting: list[Write] = []
        self._broken = False
        self._gathering_s = 0.0
        self._commits = 0
        self._checkpoints = ThreadPoolExecutor(1, "store-checkpoint")
        self._checkpoint: Future[None] | None = None

    def put(self, write: Write) -> None:
        """Queues a write behind all earlier ones."""
        self._waiting.append(write)
        if len(self._waiting) == 1:
            self._schedule(self._gathering_s, self.flush)

    def flush(self) -> None:
        """Commits what is queued, then says so, in the order in which it was written."""
        group, self._waiting = self._waiting, []
        if not group or self._broken:
            return
        self._gathering_s = min(LONGEST_GATHERING_S, GATHERING_PER_WRITE_S * (len(group) - 1))
        try:
            encoded = [[transition_to_wire(transition) for transition in write.transitions] for write in group]
            _commit(self._connection, group, encoded)
        except Exception as error:  # whatever it was, nothing later may be taken for durable
            self._broken = True
            self._failed(error)
            return
        self._checkpoint_now_and_then()
        for write, events in zip(group, encoded, strict=True):
            write.durable(events)

    def close(self) -> None:
        """Commits what is queued and lets go of the database."""
        self.flush()
        self._checkpoints.shutdown()
        self._connection.close()

    def _checkpoint_now_and_then(self) -> None:
        """The write-ahead log is copied back beside the event loop: that takes many times longer than a commit."""
        self._commits += 1
        idle = self._checkpoint is None or self._checkpoint.done()
        if self._commits % COMMITS_PER_CHECKPOINT == 0 and idle:
            self._checkpoint = self._checkpoints.submit(_copy_log_back, self._engine)


def _copy_log_back(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


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

    SQLite's driver lets go of the interpreter's lock for every statement, and another thread may keep it for a while.
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
