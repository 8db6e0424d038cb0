"""Group commit, in two steps: written, which survives the end of the process, and durable, which survives power loss.

Whatever came since the last turn of the event loop is written in one transaction, on the loop's own thread: handed to
another one, each step of a transaction waits for the interpreter's lock, which takes longer than the step itself. The
disk is flushed beside the loop, one flush after the other; each makes durable what was written before it began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from maestro.codec import workflow_status_to_proto
from maestro.v1 import scheduler_pb2
from maestro_services.scheduler.core.outcome import Transition, WorkflowAccepted, WorkflowEnded
from maestro_services.scheduler.store.tables import facts, transitions, workflows
from maestro_services.scheduler.wire import transition_to_wire

log = logging.getLogger(__name__)

ROWS_PER_STATEMENT = 64
COMMITS_PER_CHECKPOINT = 200
GATHERING_PER_WRITE_S = 0.002
LONGEST_GATHERING_S = 0.02
"""Where writes come faster than one a transaction, the next ones are waited for, the longer the more there were: a
single write is committed at once, and a flood of them needs few transactions."""

WireEvents = list[scheduler_pb2.WatchWorkflowResponse]


class Turns(Protocol):
    """What is needed of an event loop: callbacks on its thread."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        """Calls after so many seconds."""

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> object:
        """Calls soon; may be called from any thread."""


@dataclass(frozen=True, slots=True)
class Write:
    """What belongs together: transitions, named facts, and what to do once both are written and once both are durable.

    ``durable`` is called after ``written``, with the transitions in their wire form.
    """

    transitions: Sequence[Transition]
    facts: Sequence[tuple[str, bytes]]
    durable: Callable[[WireEvents], None]
    written: Callable[[], None]


class Writer:
    """Commits what is put in. What fails is final: ``failed`` is called once and nothing more is written.

    That holds for a second row under one idempotency key, too. Submissions lets none through, and a store has one
    owner; leaving out such a row would have the core run a workflow that the store does not know.
    """

    def __init__(
        self,
        engine: Engine,
        failed: Callable[[BaseException], None],
        turns: Turns,
        flush_disk: Callable[[], None] | None,
    ) -> None:
        """``flush_disk`` makes durable what was written before the call; None: what is written counts as durable."""
        self._engine = engine
        self._connection = engine.connect()
        self._connection.exec_driver_sql("PRAGMA synchronous=NORMAL")  # flushes are our own
        self._connection.commit()
        self._failed = failed
        self._turns = turns
        self._flush_disk = flush_disk
        self._waiting: list[Write] = []
        self._written: list[tuple[Write, WireEvents]] = []
        self._stopped = False
        self._has_failed = False
        self._gathering_s = 0.0
        self._commits = 0
        self._flushes = ThreadPoolExecutor(1, "store-flush")
        self._flush: Future[None] | None = None
        self._checkpoints = ThreadPoolExecutor(1, "store-checkpoint")
        self._checkpoint: Future[None] | None = None

    def put(self, write: Write) -> None:
        """Queues a write behind all earlier ones."""
        self._waiting.append(write)
        if len(self._waiting) == 1:
            self._turns.call_later(self._gathering_s, self.commit)

    def commit(self) -> None:
        """Writes what is queued and has it made durable, and says so, in the order in which it was put in."""
        group, self._waiting = self._waiting, []
        if not group or self._stopped:
            return
        self._gathering_s = min(LONGEST_GATHERING_S, GATHERING_PER_WRITE_S * (len(group) - 1))
        try:
            encoded = [[transition_to_wire(transition) for transition in write.transitions] for write in group]
            _commit(self._connection, group, encoded)
        except Exception as error:  # whatever it was, nothing later may be taken for written
            self._fail(error)
            return
        self._checkpoint_now_and_then()
        self._written += zip(group, encoded, strict=True)
        for write in group:
            write.written()
        self._make_durable()

    def close(self) -> None:
        """Lets go of the database once all that is written is durable. What was not written by now never is."""
        self._stopped = True
        self._flushes.shutdown()
        error = self._flush.exception() if self._flush is not None else None
        if error is None and self._flush_disk is not None and self._written:
            try:
                self._flush_disk()
            except OSError as failure:
                error = failure
        if error is not None:
            self._fail(error)
        self._checkpoints.shutdown()
        self._connection.close()

    def _make_durable(self) -> None:
        """Flushes the disk once for all that is written, unless a flush is under way: what came since then is next."""
        if self._flush is not None or not self._written or self._stopped:
            return
        group, self._written = self._written, []
        if self._flush_disk is None:
            _tell(group)
            return
        self._flush = self._flushes.submit(self._flush_disk)
        self._flush.add_done_callback(
            lambda done: self._turns.call_soon_threadsafe(lambda: self._flushed(group, done.exception()))
        )

    def _flushed(self, group: list[tuple[Write, WireEvents]], error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)
        if not self._stopped:
            self._flush = None
            self._make_durable()
            _tell(group)

    def _fail(self, error: BaseException) -> None:
        self._stopped = True
        if not self._has_failed:
            self._has_failed = True
            self._failed(error)

    def _checkpoint_now_and_then(self) -> None:
        """The write-ahead log is copied back beside the event loop: that takes many times longer than a commit."""
        self._commits += 1
        idle = self._checkpoint is None or self._checkpoint.done()
        if self._commits % COMMITS_PER_CHECKPOINT == 0 and idle:
            self._checkpoint = self._checkpoints.submit(_copy_log_back, self._engine)


def _tell(group: list[tuple[Write, WireEvents]]) -> None:
    for write, events in group:
        write.durable(events)


def _copy_log_back(engine: Engine) -> None:
    """Copies what no reader is in the way of; nothing is lost where it fails, but the log grows."""
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
    except SQLAlchemyError as error:
        log.error("the store's write-ahead log could not be copied back and grows: %s", error)


def _commit(connection: Connection, group: list[Write], encoded: list[WireEvents]) -> None:
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
